"""How a command ended, with its captured output: shared by results, the journal and operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """How a command ended. Any exit code is a valid result; None means that there is none yet.

    The beginning and the end of each stream are kept; `…_truncated` means that something in between is missing.
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
