"""Output of the commands on shells: a shell's output goes to stdout, remarks to stderr.

Output never controls the terminal, except in `pyro workspace shell attach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.output.tables import facts, table
from pyro_mcp.cli.streams import put, put_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.workspaces.shells import (
        ShellCloseResult,
        ShellListResult,
        ShellReadResult,
        ShellResult,
        ShellSignalResult,
        ShellWriteResult,
    )


def _opened(result: ShellResult) -> None:
    put(facts(result))


def _listed(result: ShellListResult) -> None:
    if not result.shells:
        put("no shells")
        return
    rows = [(each.shell_id, each.state, each.exit_code, f"{each.cols}x{each.rows}") for each in result.shells]
    put(table(("SHELL", "STATE", "EXIT", "SIZE"), rows))


def _read(result: ShellReadResult) -> None:
    if result.output:
        put_alone(result.output, ends_line=not result.output.endswith("\n"))


def _written(result: ShellWriteResult) -> None:
    put(
        f"typed {result.input_length} characters into {result.shell_id}; continue reading with --cursor {result.cursor}"
    )


def _signalled(result: ShellSignalResult) -> None:
    put(f"sent {result.signal} to the foreground process of {result.shell_id}")


def _closed(result: ShellCloseResult) -> None:
    put(f"closed {result.shell_id} (exit {result.exit_code})")


SHOWING: dict[str, Callable[[Any], None]] = {
    "shell_open": _opened,
    "shell_list": _listed,
    "shell_read": _read,
    "shell_write": _written,
    "shell_signal": _signalled,
    "shell_close": _closed,
}
