"""The methods of `Pyro` on shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.awaiting import awaited
from pyro_mcp.sdk.calling import Calling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.operations.workspaces.shells import (
        ShellCloseResult,
        ShellListResult,
        ShellReadResult,
        ShellResult,
        ShellSignalResult,
        ShellWriteResult,
    )


class Shells(Calling):
    """Shells in workspaces: each at a terminal of its own, open until it is closed or the workspace stops."""

    def open_shell(
        self,
        workspace_id: str,
        *,
        cwd: str = "/workspace",
        cols: int = 120,
        rows: int = 30,
        secret_env: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> ShellResult:
        """Open a shell.

        Example: `pyro.open_shell("app", cwd="src").shell_id`
        """
        return self._run("workspace shell open", locals())

    def list_shells(self, workspace_id: str) -> ShellListResult:
        """List the shells of a workspace, the oldest first.

        Example: `[each.shell_id for each in pyro.list_shells("app").shells]`
        """
        return self._run("workspace shell list", locals())

    def read_shell(
        self,
        workspace_id: str,
        shell_id: str,
        *,
        cursor: int = 0,
        max_chars: int = 65536,
        plain: bool = False,
        wait_for_idle_ms: int | None = None,
    ) -> ShellReadResult:
        """Read a shell's output from a cursor; with `plain`, only the visible text.

        Example: `pyro.read_shell("app", shell_id, plain=True, wait_for_idle_ms=500).output`
        """
        return self._run("workspace shell read", locals())

    def write_shell(
        self,
        workspace_id: str,
        shell_id: str,
        *,
        input: str,  # noqa: A002 - the operation's own name
        append_newline: bool = True,
    ) -> ShellWriteResult:
        """Type into a shell, and press Enter.

        Example: `pyro.write_shell("app", shell_id, input="make test")`
        """
        return self._run("workspace shell write", locals())

    def signal_shell(self, workspace_id: str, shell_id: str, *, signal_name: str = "INT") -> ShellSignalResult:
        """Send a signal (HUP, INT, TERM, KILL) to a shell's foreground process.

        Example: `pyro.signal_shell("app", shell_id)`
        """
        return self._run("workspace shell signal", locals())

    def close_shell(self, workspace_id: str, shell_id: str) -> ShellCloseResult:
        """Close a shell and everything it started.

        Example: `pyro.close_shell("app", shell_id)`
        """
        return self._run("workspace shell close", locals())


class AsyncShells:
    """The same, to await."""

    open_shell = awaited(Shells.open_shell)
    list_shells = awaited(Shells.list_shells)
    read_shell = awaited(Shells.read_shell)
    write_shell = awaited(Shells.write_shell)
    signal_shell = awaited(Shells.signal_shell)
    close_shell = awaited(Shells.close_shell)
