"""The exception for requests that the agent refuses."""

from __future__ import annotations


class RefusalError(Exception):
    """A refused request; the host receives it as FAILURE."""

    def __init__(self, code: str, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit_code = exit_code
