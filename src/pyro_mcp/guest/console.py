"""Log to the guest's console errors that can't be reported as the answer to a request."""

from __future__ import annotations

import sys


def log_exception() -> None:
    """Write the current exception with its traceback."""
    # Importing it takes a third of the agent's start-up time, and it is rarely needed.
    import traceback

    traceback.print_exc()
    sys.stderr.flush()


def log(text: str) -> None:
    """Write a line to the console."""
    sys.stderr.write(f"agent: {text}\n")
    sys.stderr.flush()
