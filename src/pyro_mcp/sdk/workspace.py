"""A workspace, its shells and its services as objects, as returned by `pyro.workspace()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from pyro_mcp.errors import NotFoundError
from pyro_mcp.sdk.binding import making, of_part, of_workspace
from pyro_mcp.sdk.files import Files
from pyro_mcp.sdk.services import Services
from pyro_mcp.sdk.shells import Shells
from pyro_mcp.sdk.workspaces import Workspaces

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self

    from pyro_mcp.operations.workspaces.commands import WorkspaceExecResult
    from pyro_mcp.operations.workspaces.files import PatchApplyResult
    from pyro_mcp.operations.workspaces.services import ServiceStartResult
    from pyro_mcp.operations.workspaces.shells import ShellResult, ShellWriteResult
    from pyro_mcp.sdk.calling import Stdin


class Operations(Workspaces, Shells, Services):
    """Every operation on workspaces, as a method that takes the workspace's id."""


class Shell:
    """An open shell. As a context manager it is closed at the end.

    Example: `with workspace.shell() as shell: shell.write("make"); print(shell.read(wait_for_idle_ms=500).output)`
    """

    def __init__(self, workspace: Workspace, opened: ShellResult) -> None:
        self.pyro = workspace.pyro
        self.id: str = opened.shell_id
        self.names = (workspace.id, self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, text: str, *, append_newline: bool = True) -> ShellWriteResult:
        """Type a text, and press Enter.

        Example: `shell.write("make test")`
        """
        return self.pyro.write_shell(*self.names, input=text, append_newline=append_newline)

    read = of_part(Shells.read_shell)
    signal = of_part(Shells.signal_shell)
    close = of_part(Shells.close_shell)


class Service:
    """A started service; `started` is the result of its start.

    Example: `web = workspace.service("web", command="python3 -m http.server"); print(web.logs().stdout)`
    """

    def __init__(self, workspace: Workspace, started: ServiceStartResult) -> None:
        self.pyro = workspace.pyro
        self.name: str = started.service_name
        self.started = started
        self.names = (workspace.id, self.name)

    status = of_part(Services.status_service)
    logs = of_part(Services.logs_service)
    stop = of_part(Services.stop_service)


class Network:
    """The network of a workspace: `workspace.network`.

    Example: `workspace.network.allow(["api.example.org"]); print(workspace.network.show().effective)`
    """

    def __init__(self, pyro: Operations, workspace_id: str) -> None:
        self.pyro = pyro
        self.names = (workspace_id,)

    show = of_workspace(Workspaces.show_workspace_network)
    set = of_workspace(Workspaces.set_workspace_network)
    allow = of_workspace(Workspaces.allow_workspace_hosts)
    deny = of_workspace(Workspaces.deny_workspace_hosts)
    log = of_workspace(Workspaces.read_workspace_network_log)


class Workspace:
    """A workspace. As a context manager, it is deleted at the end unless it is kept.

    Example: `with pyro.workspace("debian:12", seed_path=".") as workspace: print(workspace.exec("make test").stdout)`
    """

    def __init__(self, pyro: Operations, workspace_id: str, *, keep: bool = True) -> None:
        self.pyro = pyro
        self.id = workspace_id
        self.keep = keep
        self.names = (workspace_id,)
        self.files = Files(pyro, workspace_id)
        self.network = Network(pyro, workspace_id)

    def __repr__(self) -> str:
        return f"Workspace({self.id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.keep:
            try:
                self.delete()
            except NotFoundError:
                return

    def exec(
        self,
        command: str | Sequence[str],
        *,
        timeout_seconds: float | None = 30,
        secret_env: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        user: str | None = None,
        stdin: Stdin | None = None,
        merge_stderr: bool = False,
        max_output_bytes: int = 1048576,
        keep: str = "ends",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> WorkspaceExecResult:
        """Run a command: a string by the shell, a list without one. It is killed if the call is interrupted.

        Example: `workspace.exec("pytest -q", timeout_seconds=600, on_stdout=print).exit_code`
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        return self.pyro.exec_workspace(self.id, **given)

    def patch(self, patch: str) -> PatchApplyResult:
        """Apply a unified diff: all of it, or nothing.

        Example: `workspace.patch(answer_of_the_model)`
        """
        return self.pyro.apply_workspace_patch(self.id, patch=patch)

    shell = making(Shells.open_shell, Shell)
    service = making(Services.start_service, Service)
    diff = of_workspace(Workspaces.diff_workspace)
    snapshot = of_workspace(Workspaces.create_snapshot)
    reset = of_workspace(Workspaces.reset_workspace)
    export = of_workspace(Workspaces.export_workspace)
    push = of_workspace(Workspaces.push_workspace_sync)
    logs = of_workspace(Workspaces.logs_workspace)
    summary = of_workspace(Workspaces.summarize_workspace)
    status = of_workspace(Workspaces.status_workspace)
    update = of_workspace(Workspaces.update_workspace)
    stop = of_workspace(Workspaces.stop_workspace)
    start = of_workspace(Workspaces.start_workspace)
    delete = of_workspace(Workspaces.delete_workspace)


class NewWorkspace(TypedDict, total=False):
    """The keyword arguments of `create_workspace`."""

    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    network_policy: str
    allow_host_compat: bool
    seed_path: str | PathLike[str] | None
    secrets: Sequence[Mapping[str, str]] | None
    name: str | None
    labels: Mapping[str, str] | None
    require_kvm: bool
    include_ignored: bool
    exclude: Sequence[str] | None
    allow_hosts: Sequence[str] | None
    deny_hosts: Sequence[str] | None
    ca_files: Sequence[str | PathLike[str]] | None
