"""`python -m levqor` and the script `levqor`: the same command line as the binary of that name."""

from __future__ import annotations

import signal
import sys

from levqor import _native


def main() -> int:
    """Does what the arguments say, and gives the exit code."""
    # Ctrl-C belongs to the command line, which has its own way to end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.cli(["levqor", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
