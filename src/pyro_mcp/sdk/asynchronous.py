"""`AsyncPyro`: the same names as `Pyro`, to await. Each call has a thread; cancelling it ends what runs in the guest.

A cancelled call raises CancelledError when the operation has released what it acquired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress
from pyro_mcp.sdk.calling import CANCEL, ProgressEvent
from pyro_mcp.sdk.files import Files
from pyro_mcp.sdk.pyro import Pyro
from pyro_mcp.sdk.workspace import NewWorkspace, Service, Shell, Workspace

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
# Threads that wait for guests, not for processors.
MAX_CALLS = 64


class Calls:
    """The threads of an `AsyncPyro`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_CALLS, "pyro")

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call in a thread, and cancel it with this coroutine."""
        from pyro_mcp.agent import CancelToken

        token, context = CancelToken(), copy_context()
        context.run(CANCEL.set, token)
        future = asyncio.get_running_loop().run_in_executor(self._threads, partial(context.run, call))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            token.cancel()
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            # What it ended with counts no more.
            future.exception()
            raise

    def close(self) -> None:
        """Let the threads end with the calls that still run."""
        self._threads.shutdown(wait=False)


class Asynchronous(Generic[S]):
    """The base of what stands for an object with methods that block."""

    def __init__(self, calls: Calls, sync: S) -> None:
        self.calls, self.sync = calls, sync


class _Method(Generic[P, R]):
    def __init__(
        self, method: Callable[Concatenate[Any, P], Any], make: Callable[[Calls, Any], R] | None = None
    ) -> None:
        self._method, self._make = method, make
        self.__doc__ = method.__doc__

    def __get__(self, has_it: Asynchronous[Any] | None, owner: type) -> Callable[P, Coroutine[Any, Any, R]]:
        call = self._call if has_it is None else partial(self._call, has_it)
        return update_wrapper(partial(call), self._method)

    async def _call(self, has_it: Any, /, *args: Any, **given: Any) -> Any:  # noqa: ANN401 - typed by the descriptor
        done = await has_it.calls.run(partial(self._method, has_it.sync, *args, **given))
        return done if self._make is None else self._make(has_it.calls, done)


def awaited(method: Callable[Concatenate[Any, P], R]) -> _Method[P, R]:
    """Return a method that is awaited."""
    return _Method(method)


def making(method: Callable[Concatenate[Any, P], R], make: Callable[[Calls, R], S]) -> _Method[P, S]:
    """Return a method that is awaited, whose result is wrapped."""
    return _Method(method, make)


class AsyncFiles(Asynchronous[Files]):
    """`Files`, to await."""

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
    """`Shell`, to await."""

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
    """`Service`, to await."""

    @property
    def name(self) -> str:
        """Return its name."""
        return self.sync.name

    status = awaited(Service.status)
    logs = awaited(Service.logs)
    stop = awaited(Service.stop)


class AsyncWorkspace(Asynchronous[Workspace]):
    """`Workspace`, to await."""

    def __init__(self, calls: Calls, sync: Workspace) -> None:
        super().__init__(calls, sync)
        self.files = AsyncFiles(calls, sync.files)

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


class AsyncPyro(Asynchronous[Pyro]):
    """`Pyro`, to await. Every method takes what that of `Pyro` takes, and raises the same.

    Example: `async with AsyncPyro() as pyro: print((await pyro.run_in_vm("debian:12", "uname -a")).stdout)`
    """

    def __init__(
        self,
        *,
        paths: Paths | None = None,
        progress: Progress | Callable[[ProgressEvent], object] | None = None,
    ) -> None:
        super().__init__(Calls(), Pyro(paths=paths, progress=progress))

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
        """Create a workspace, or take an existing one, as `Pyro.workspace` does.

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
    doctor = awaited(Pyro.doctor)
    prepare = awaited(Pyro.prepare)
    demo = awaited(Pyro.demo)
    create_workspace = awaited(Pyro.create_workspace)
    list_workspaces = awaited(Pyro.list_workspaces)
    update_workspace = awaited(Pyro.update_workspace)
    status_workspace = awaited(Pyro.status_workspace)
    stop_workspace = awaited(Pyro.stop_workspace)
    start_workspace = awaited(Pyro.start_workspace)
    delete_workspace = awaited(Pyro.delete_workspace)
    exec_workspace = awaited(Pyro.exec_workspace)
    logs_workspace = awaited(Pyro.logs_workspace)
    push_workspace_sync = awaited(Pyro.push_workspace_sync)
    list_workspace_files = awaited(Pyro.list_workspace_files)
    read_workspace_file = awaited(Pyro.read_workspace_file)
    write_workspace_file = awaited(Pyro.write_workspace_file)
    apply_workspace_patch = awaited(Pyro.apply_workspace_patch)
    diff_workspace = awaited(Pyro.diff_workspace)
    summarize_workspace = awaited(Pyro.summarize_workspace)
    export_workspace = awaited(Pyro.export_workspace)
    create_snapshot = awaited(Pyro.create_snapshot)
    list_snapshots = awaited(Pyro.list_snapshots)
    delete_snapshot = awaited(Pyro.delete_snapshot)
    reset_workspace = awaited(Pyro.reset_workspace)
    export_workspace_disk = awaited(Pyro.export_workspace_disk)
    list_workspace_disk = awaited(Pyro.list_workspace_disk)
    read_workspace_disk = awaited(Pyro.read_workspace_disk)
    open_shell = awaited(Pyro.open_shell)
    list_shells = awaited(Pyro.list_shells)
    read_shell = awaited(Pyro.read_shell)
    write_shell = awaited(Pyro.write_shell)
    signal_shell = awaited(Pyro.signal_shell)
    close_shell = awaited(Pyro.close_shell)
    start_service = awaited(Pyro.start_service)
    list_services = awaited(Pyro.list_services)
    status_service = awaited(Pyro.status_service)
    logs_service = awaited(Pyro.logs_service)
    stop_service = awaited(Pyro.stop_service)
