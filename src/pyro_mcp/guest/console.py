"""The agent's messages on the machine's console, for errors that no request can answer."""

from __future__ import annotations

import sys


def log_exception() -> None:
    """Write the exception that is being handled, with where it came from."""
    # Takes a third of the agent's start-up to import, and is hardly ever needed.
    import traceback

    traceback.print_exc()
    sys.stderr.flush()


def log(text: str) -> None:
    """Write a line to the console."""
    sys.stderr.write(f"agent: {text}\n")
    sys.stderr.flush()
