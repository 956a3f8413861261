"""The error that reports a refused request to the host."""

from __future__ import annotations


class RefusalError(Exception):
    """A request that can't be done, as FAILURE tells the host."""

    def __init__(self, code: str, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit_code = exit_code
