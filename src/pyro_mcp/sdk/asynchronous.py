"""`AsyncPyro`: the methods of `Pyro`, awaitable. Each call uses a thread; cancelling it ends what runs in the guest.

A cancelled call raises CancelledError when the operation has released what it acquired.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress
from pyro_mcp.sdk.awaiting import Asynchronous, Calls, awaited, making
from pyro_mcp.sdk.calling import ProgressEvent
from pyro_mcp.sdk.files import Files
from pyro_mcp.sdk.pyro import Pyro
from pyro_mcp.sdk.services import AsyncServices
from pyro_mcp.sdk.shells import AsyncShells
from pyro_mcp.sdk.workspace import Network, NewWorkspace, Service, Shell, Workspace
from pyro_mcp.sdk.workspaces import AsyncWorkspaces

if TYPE_CHECKING:
    from os import PathLike


class AsyncFiles(Asynchronous[Files]):
    """`Files`, with awaitable methods."""

    read = awaited(Files.read)
    read_bytes = awaited(Files.read_bytes)
    write = awaited(Files.write)
    list = awaited(Files.list)
    stat = awaited(Files.stat)
    exists = awaited(Files.exists)
    mkdir = awaited(Files.mkdir)
    move = awaited(Files.move)
    remove = awaited(Files.remove)


class AsyncShell(Asynchronous[Shell]):
    """`Shell`, with awaitable methods."""

    @property
    def id(self) -> str:
        """Return its id."""
        return self.sync.id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    write = awaited(Shell.write)
    read = awaited(Shell.read)
    signal = awaited(Shell.signal)
    close = awaited(Shell.close)


class AsyncService(Asynchronous[Service]):
    """`Service`, with awaitable methods."""

    @property
    def name(self) -> str:
        """Return its name."""
        return self.sync.name

    status = awaited(Service.status)
    logs = awaited(Service.logs)
    stop = awaited(Service.stop)


class AsyncNetwork(Asynchronous[Network]):
    """`Network`, with awaitable methods."""

    show = awaited(Network.show)
    set = awaited(Network.set)
    allow = awaited(Network.allow)
    deny = awaited(Network.deny)
    log = awaited(Network.log)


class AsyncWorkspace(Asynchronous[Workspace]):
    """`Workspace`, with awaitable methods."""

    def __init__(self, calls: Calls, sync: Workspace) -> None:
        super().__init__(calls, sync)
        self.files = AsyncFiles(calls, sync.files)
        self.network = AsyncNetwork(calls, sync.network)

    @property
    def id(self) -> str:
        """Return its id."""
        return self.sync.id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.calls.run(self.sync.__exit__)

    exec = awaited(Workspace.exec)
    patch = awaited(Workspace.patch)
    shell = making(Workspace.shell, AsyncShell)
    service = making(Workspace.service, AsyncService)
    diff = awaited(Workspace.diff)
    snapshot = awaited(Workspace.snapshot)
    reset = awaited(Workspace.reset)
    export = awaited(Workspace.export)
    push = awaited(Workspace.push)
    logs = awaited(Workspace.logs)
    summary = awaited(Workspace.summary)
    status = awaited(Workspace.status)
    update = awaited(Workspace.update)
    stop = awaited(Workspace.stop)
    start = awaited(Workspace.start)
    delete = awaited(Workspace.delete)


class Opening:
    """A workspace that is about to be created or found: `await` it, or use it with `async with`."""

    def __init__(self, calls: Calls, make: Callable[[], Workspace]) -> None:
        self._calls, self._make = calls, make
        self._opened: AsyncWorkspace | None = None

    def __await__(self) -> Generator[Any, Any, AsyncWorkspace]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncWorkspace:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *_: object) -> None:
        if self._opened is not None:
            await self._opened.__aexit__()

    async def _open(self) -> AsyncWorkspace:
        return AsyncWorkspace(self._calls, await self._calls.run(self._make))


class AsyncPyro(AsyncWorkspaces, AsyncShells, AsyncServices, Asynchronous[Pyro]):
    """`Pyro`, with awaitable methods that take the same arguments and raise the same errors.

    Example: `async with AsyncPyro() as pyro: print((await pyro.run_in_vm("debian:12", "uname -a")).stdout)`
    """

    def __init__(
        self,
        *,
        base_dir: str | PathLike[str] | None = None,
        cache_dir: str | PathLike[str] | None = None,
        paths: Paths | None = None,
        progress: Progress | Callable[[ProgressEvent], object] | None = None,
    ) -> None:
        super().__init__(Calls(), Pyro(base_dir=base_dir, cache_dir=cache_dir, paths=paths, progress=progress))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close, as `Pyro.close` does."""
        self.calls.close()

    def workspace(
        self,
        environment: str = "debian:12",
        *,
        id: str | None = None,  # noqa: A002 - as `Pyro.workspace`
        keep: bool | None = None,
        **options: Unpack[NewWorkspace],
    ) -> Opening:
        """Create a workspace, or use an existing one, as `Pyro.workspace` does.

        Example: `async with pyro.workspace("debian:12", seed_path=".") as workspace: await workspace.exec("make")`
        """
        return Opening(self.calls, partial(self.sync.workspace, environment, id=id, keep=keep, **options))

    run_in_vm = awaited(Pyro.run_in_vm)
    create_vm = awaited(Pyro.create_vm)
    start_vm = awaited(Pyro.start_vm)
    exec_vm = awaited(Pyro.exec_vm)
    stop_vm = awaited(Pyro.stop_vm)
    delete_vm = awaited(Pyro.delete_vm)
    status_vm = awaited(Pyro.status_vm)
    list_vms = awaited(Pyro.list_vms)
    network_info_vm = awaited(Pyro.network_info_vm)
    reap_expired = awaited(Pyro.reap_expired)
    list_environments = awaited(Pyro.list_environments)
    pull_environment = awaited(Pyro.pull_environment)
    inspect_environment = awaited(Pyro.inspect_environment)
    prune_environments = awaited(Pyro.prune_environments)
    network_presets = awaited(Pyro.network_presets)
    doctor = awaited(Pyro.doctor)
    prepare = awaited(Pyro.prepare)
    demo = awaited(Pyro.demo)
