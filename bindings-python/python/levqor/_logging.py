"""The engine's log lines, under `levqor.*`. Imported when the first one comes."""

from __future__ import annotations

import logging

_root = logging.getLogger("levqor")
_root.addHandler(logging.NullHandler())


def effective() -> int:
    """The lowest level that anybody hears."""
    return _root.getEffectiveLevel()


def emit(name: str, level: int, text: str) -> None:
    """Tells one line."""
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        logger.handle(logger.makeRecord(name, level, "(levqor)", 0, text, (), None))
