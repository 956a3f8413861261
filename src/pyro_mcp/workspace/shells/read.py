"""Read the output of a shell.

The amount fetched is bounded, and so is the wait for output to pause. Reading does not count as activity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.agent.shells import ShellState
from pyro_mcp.protocol import shells as limits
from pyro_mcp.workspace.shells.cursors import Part, shown_part
from pyro_mcp.workspace.shells.shell import UsedShell, shells_of

if TYPE_CHECKING:
    from pyro_mcp.agent import CancelToken
    from pyro_mcp.agent.shells import ShellInfo, ShellOutput
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.secrets.redactor import Redactor

DEFAULT_MAX_CHARS = 65_536
# MCP hosts give up on a call after a minute.
_LONGEST_WAIT_MS = 45_000
_MAX_CHARACTER_BYTES = 4


@dataclass(frozen=True, slots=True)
class ShellReading:
    """A part of a shell's output, as text."""

    shell: UsedShell
    #: Where it begins: later than requested if output has been dropped since.
    cursor: int
    dropped_bytes: int
    part: Part

    @property
    def info(self) -> ShellInfo:
        """Return the shell as its guest describes it."""
        return self.shell.info

    @property
    def next_cursor(self) -> int:
        """Return where the next part begins."""
        return self.cursor + self.part.byte_count

    @property
    def truncated(self) -> bool:
        """Return whether output follows, or was dropped before it."""
        return self.dropped_bytes > 0 or self.part.is_cut


def read_shell(
    engine: Engine,
    handle: str,
    shell_id: str,
    *,
    cursor: int = 0,
    max_chars: int = DEFAULT_MAX_CHARS,
    plain: bool = False,
    wait_for_idle_ms: int | None = None,
    cancel: CancelToken | None = None,
) -> ShellReading:
    """Read a shell's output from a cursor on: raw or, with `plain`, its visible text.

    With `wait_for_idle_ms`, wait until output has paused for that long, or the shell exits.

    Raises:
        PyroError: NOT_FOUND; INVALID for a cursor beyond the output; CANCELLED; as `guest_of`.
    """
    with shells_of(engine, handle, activity=False, cancel=cancel) as use:
        redactor: Redactor | None = None
        if use.workspace.secrets:
            from pyro_mcp.workspace.secrets.keeping import redactor_for

            redactor = redactor_for(engine.paths, use.workspace)
        needs_context = plain or redactor is not None
        output = use.shells.read(
            shell_id,
            cursor,
            max_bytes=limits.MAX_READ_BYTES if needs_context else _bytes_for(max_chars),
            context_bytes=limits.CONTEXT_BYTES if needs_context else 0,
            idle_ms=wait_for_idle_ms or 0,
            wait_ms=_LONGEST_WAIT_MS,
        )
        shell = use.used(output.info)
    part = shown_part(output, max_chars, plain=plain, is_last=_is_last(output), redactor=redactor)
    return ShellReading(shell, output.start, output.start - cursor, part)


def _bytes_for(max_chars: int) -> int:
    return min(max_chars * _MAX_CHARACTER_BYTES, limits.MAX_READ_BYTES)


def _is_last(output: ShellOutput) -> bool:
    """Return whether nothing can follow it."""
    return output.info.state is ShellState.STOPPED and output.stop == output.info.end
