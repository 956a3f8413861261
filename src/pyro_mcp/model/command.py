"""How a command ended and what is kept of its output: the same value in results, in the journal and in operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The end of a command. Its exit code is a result, whatever it is, and None while there is none.

    Of each stream the text keeps the beginning and the end; `…_truncated` says that something between them is missing.
    """

    exit_code: int | None = None
    timed_out: bool = False
    oom_killed: bool = False
    duration_ms: int = 0
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stdout_truncated: bool = False
    stderr_truncated: bool = False
