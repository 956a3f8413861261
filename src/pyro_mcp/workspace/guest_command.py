"""One command in a guest: what is run, where its streams go, what came of it.

Owns these three values. Refuses to run anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.limits import DEFAULT_TIMEOUT_S, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.agent import CancelToken, Stream
    from pyro_mcp.model.kinds import ExecutionMode, Isolation

WORKSPACE = "/workspace"
DEFAULT_STREAM_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GuestCommand:
    """A command: a line for the guest's shell (`str`), or a program and its arguments."""

    command: str | tuple[str, ...]
    timeout_s: int = DEFAULT_TIMEOUT_S
    cwd: str = WORKSPACE

    def __post_init__(self) -> None:
        """Refuse what no guest could run.

        Raises:
            PyroError: INVALID.
        """
        check_timeout(self.timeout_s)
        if not self.command or not self.argv[0]:
            raise PyroError(ErrorCode.INVALID, "the command is empty", hint="Give a command to run.")
        if any("\0" in part for part in self.argv):
            raise PyroError(
                ErrorCode.INVALID,
                "the command holds a NUL character, which no program can be given",
                hint="Pass binary data on stdin.",
            )

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the argument vector."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command


@dataclass(frozen=True, slots=True)
class CommandStreams:
    """Where a command's streams go while it runs, and how it is called off.

    `on_output` gets output as it comes. `stdin` is a descriptor, or None for an empty input. The result keeps
    `stream_bytes` of each stream, half from its beginning and half from its end.
    """

    on_output: Callable[[Stream, bytes], None] | None = None
    stdin: int | None = None
    cancel: CancelToken | None = None
    stream_bytes: int = DEFAULT_STREAM_BYTES

    def check(self) -> None:
        """Raise CANCELLED if the command was called off before it began."""
        if self.cancel is not None:
            self.cancel.check()


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a command. Its exit code is a result, whatever it is."""

    vm_id: str
    environment: str
    command: str | tuple[str, ...]
    execution_mode: ExecutionMode
    isolation: Isolation
    exit_code: int
    timed_out: bool
    oom_killed: bool
    duration_ms: int
    stdout: str
    stderr: str
    stdout_bytes: int
    stderr_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool
