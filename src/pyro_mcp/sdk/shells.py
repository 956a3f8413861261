"""The methods of `Pyro` on shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.calling import Calling, as_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.operations.workspaces.shells import (
        ShellCloseResult,
        ShellListResult,
        ShellOpenResult,
        ShellReadResult,
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
    ) -> ShellOpenResult:
        """Open a shell."""
        from pyro_mcp.operations.workspaces import shells

        request = shells.ShellOpenRequest(
            workspace_id=workspace_id, cwd=cwd, cols=cols, rows=rows, secret_env=as_pairs(secret_env)
        )
        return self._do(shells.SHELL_OPEN, request)

    def list_shells(self, workspace_id: str) -> ShellListResult:
        """List the shells of a workspace, the oldest first."""
        from pyro_mcp.operations.workspaces import shells

        return self._do(shells.SHELL_LIST, shells.ShellListRequest(workspace_id=workspace_id))

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
        """Read what a shell has put out since a cursor; with `plain`, what a person would see of it."""
        from pyro_mcp.operations.workspaces import shells

        request = shells.ShellReadRequest(
            workspace_id=workspace_id,
            shell_id=shell_id,
            cursor=cursor,
            max_chars=max_chars,
            plain=plain,
            wait_for_idle_ms=wait_for_idle_ms,
        )
        return self._do(shells.SHELL_READ, request)

    def write_shell(self, workspace_id: str, shell_id: str, *, input: str, newline: bool = True) -> ShellWriteResult:  # noqa: A002 - the operation's own name
        """Type into a shell, and press Enter."""
        from pyro_mcp.operations.workspaces import shells

        request = shells.ShellWriteRequest(workspace_id=workspace_id, shell_id=shell_id, input=input, newline=newline)
        return self._do(shells.SHELL_WRITE, request)

    def signal_shell(self, workspace_id: str, shell_id: str, *, signal: str = "INT") -> ShellSignalResult:
        """Send a signal (HUP, INT, TERM, KILL) to what runs in a shell's foreground."""
        from pyro_mcp.operations.workspaces import shells

        request = shells.ShellSignalRequest(workspace_id=workspace_id, shell_id=shell_id, signal=signal)
        return self._do(shells.SHELL_SIGNAL, request)

    def close_shell(self, workspace_id: str, shell_id: str) -> ShellCloseResult:
        """End a shell and all that it has started."""
        from pyro_mcp.operations.workspaces import shells

        request = shells.ShellCloseRequest(workspace_id=workspace_id, shell_id=shell_id)
        return self._do(shells.SHELL_CLOSE, request)
