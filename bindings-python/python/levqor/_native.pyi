def version() -> str:
    """The version of the engine."""

def parse_credits(text: str) -> int:
    """Reads credits written as a decimal string; returns micro-credits, millionths of a credit.

    Raises ValueError with the stable code in its attribute `code` where the text is no amount.
    """
