"""Outputs of shells, made by hand."""

from __future__ import annotations

from pyro_mcp.agent.shells import ShellInfo, ShellOutput, ShellSize, ShellState
from pyro_mcp.workspace.shells.cursors import shown_part


def output(
    data: bytes,
    before: bytes = b"",
    *,
    cols: int = 80,
    rows: int = 24,
    end: int | None = None,
    sizes: tuple[ShellSize, ...] = (),
    exit_code: int | None = None,
) -> ShellOutput:
    """Return an output that came after `before`."""
    total = len(before) + len(data) if end is None else end
    state = ShellState.RUNNING if exit_code is None else ShellState.STOPPED
    info = ShellInfo("sh_a", state, exit_code, 0, total, cols, rows)
    return ShellOutput(info, len(before), data, before, sizes or (ShellSize(0, cols, rows),))


def seen(data: bytes, before: bytes = b"", *, cols: int = 80, rows: int = 24, max_chars: int = 65_536) -> str:
    """Return what a person would see of it."""
    return shown_part(output(data, before, cols=cols, rows=rows), max_chars, plain=True, is_last=False).text
