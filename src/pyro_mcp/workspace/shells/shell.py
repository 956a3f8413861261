"""Open, list, type into, signal and close the shells of a workspace's guest.

The host keeps no record of shells: they exist in the guest and end with it. Only opening one starts a workspace.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.shells import GuestShells, ShellInfo, ShellSignal
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import new_shell_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.guest import GuestUse, guest_of
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.machines.command import GuestCommand, check_variables

#: In these states there is no guest, and so no shell.
WITHOUT_SHELLS = {WorkspaceState.STOPPED, WorkspaceState.FAILED}


@dataclass(frozen=True, slots=True)
class ShellsUse:
    """The shells of a running guest."""

    guest: GuestUse
    shells: GuestShells

    @property
    def workspace(self) -> Workspace:
        """Return the workspace of the guest."""
        return self.guest.workspace

    def used(self, info: ShellInfo) -> UsedShell:
        """Return a shell of this guest."""
        vm, machine = self.guest.vm, self.guest.machine.record
        mode = vm.execution_mode or ExecutionMode.of(machine.kind)
        return UsedShell(self.workspace.id, info, mode, vm.isolation or Isolation.of(machine.accelerator))


@contextmanager
def shells_of(
    engine: Engine, handle: str, *, activity: bool, starts: bool = False, cancel: CancelToken | None = None
) -> Generator[ShellsUse]:
    """Yield the shells of a workspace. With `activity`, the use renews its time to live.

    Raises:
        PyroError: NOT_FOUND, also if the workspace is not running and `starts` is false; as `guest_of`.
    """
    workspace = find_workspace(engine, handle)
    if not starts and workspace.state in WITHOUT_SHELLS:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the workspace {workspace.title} is {workspace.state.value}, and its shells are gone",
            hint="Open a new one, which starts the workspace.",
            details={"workspace_id": workspace.id},
        )
    with guest_of(engine, workspace.id, activity=activity) as guest, guest.session() as session:
        yield ShellsUse(guest, GuestShells(session, cancel=cancel))


DEFAULT_COLS, DEFAULT_ROWS = 120, 30
# On the host itself, the shell's home is the workspace: a history file would become part of it.
_ON_HOST = {"HISTFILE": ""}


@dataclass(frozen=True, slots=True)
class ShellSpec:
    """The specification of a shell, by default root's. The values of `env` are not recorded.

    `secret_env` maps each secret's name to the variable that holds it. A `command` is run instead of a shell.
    """

    cwd: str = WORKSPACE
    cols: int = DEFAULT_COLS
    rows: int = DEFAULT_ROWS
    secret_env: Mapping[str, str] | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    user: str = ""
    command: GuestCommand | None = None

    def __post_init__(self) -> None:
        """Check that a guest could run it.

        Raises:
            PyroError: INVALID.
        """
        check_variables(self.env)


@dataclass(frozen=True, slots=True)
class UsedShell:
    """The state of a shell after a call."""

    workspace_id: str
    info: ShellInfo
    execution_mode: ExecutionMode
    isolation: Isolation


def open_shell(engine: Engine, handle: str, spec: ShellSpec) -> UsedShell:
    """Open a shell, starting the workspace if necessary.

    Raises:
        PyroError: NOT_FOUND if the directory does not exist; CONFLICT if there are too many shells; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True, starts=True) as use:
        return open_in(engine, use, spec)


def open_in(engine: Engine, use: ShellsUse, spec: ShellSpec) -> UsedShell:
    """Open a shell in a guest in use."""
    variables = dict(use.guest.vm.variables)
    if use.workspace.is_host_compat:
        variables |= _ON_HOST
    variables |= spec.env
    if spec.secret_env:
        from pyro_mcp.workspace.secrets.keeping import secret_variables, secrets_of

        secrets = secrets_of(engine.paths, use.workspace)
        variables |= secret_variables(use.workspace, secrets, spec.secret_env)
    info = use.shells.open(
        new_shell_id(),
        cwd=spec.cwd,
        cols=spec.cols,
        rows=spec.rows,
        env=variables,
        user=spec.user,
        argv=() if spec.command is None else spec.command.argv,
        is_line=spec.command is not None and spec.command.is_line,
    )
    return use.used(info)


def list_shells(engine: Engine, handle: str) -> tuple[str, tuple[UsedShell, ...]]:
    """Return the workspace's id and its shells, the oldest first.

    Raises:
        PyroError: NOT_FOUND; as `guest_of`.
    """
    workspace = find_workspace(engine, handle)
    if workspace.state in WITHOUT_SHELLS:
        return workspace.id, ()
    with shells_of(engine, workspace.id, activity=False) as use:
        return workspace.id, tuple(use.used(each) for each in use.shells.list())


MAX_INPUT_BYTES = 256 * 1024


def write_shell(engine: Engine, handle: str, shell_id: str, text: str, *, enter: bool = False) -> UsedShell:
    """Type a text, followed by Enter if `enter`, and return the shell's state before it.

    Raises:
        PyroError: INVALID for a text that is too long or not valid Unicode; NOT_FOUND; CONFLICT if the shell has
            exited, or does not read its input; as `guest_of`.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise PyroError(
            ErrorCode.INVALID,
            "the input holds half of a character, which UTF-8 does not have",
            hint="Send the text as it is, without \\ud800 to \\udfff escapes that have no partner.",
        ) from None
    if size > MAX_INPUT_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"the input has {size} bytes",
            hint=f"At most {MAX_INPUT_BYTES} can be typed at once: write longer data to a file.",
        )
    with shells_of(engine, handle, activity=True) as use:
        return use.used(use.shells.write(shell_id, text, enter=enter))


def signal_shell(engine: Engine, handle: str, shell_id: str, number: ShellSignal) -> UsedShell:
    """Signal the foreground process group, and return the shell's state at that time.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if the shell has exited; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True) as use:
        return use.used(use.shells.signal(shell_id, number))


def close_shell(engine: Engine, handle: str, shell_id: str) -> UsedShell:
    """End a shell with everything it started, and return its final state.

    Raises:
        PyroError: NOT_FOUND; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True) as use:
        return use.used(use.shells.close(shell_id))
