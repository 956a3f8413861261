"""One verb in a process of its own, over the fake driver or with real guests, for tests that kill or interrupt it.

As a program (`python -m tests.support.one_verb`) it imports everything once, and then forks for each verb it is asked
for: starting an interpreter each time would take longer than the verb. `Verbs` is the side that asks.

The directories come from the environment; images are installed already.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.create import create_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot
from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import CommandStreams, GuestCommand
from pyro_mcp.workspace.vms.create import VmSpec, create_vm
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.run import exec_vm, run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.fake_driver import FakeDrivers
from tests.support.tiny_images import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

TIMEOUT_S = 60.0
INTERRUPTED = 130
#: Set where real guests are to be booted.
REAL_VARIABLE = "PYRO_TEST_REAL_GUESTS"
#: How many descriptors the verb may have open.
DESCRIPTORS_VARIABLE = "PYRO_TEST_DESCRIPTORS"


def perform(verb: str, vm_id: str = "", command: str = "echo done") -> None:
    streams = CommandStreams(on_output=lambda _, data: _show(data))
    drivers = None if os.environ.get(REAL_VARIABLE) else FakeDrivers()
    with Engine(Paths.from_environment(), drivers=drivers) as engine:
        match verb:
            case "run":
                run_in_vm(engine, VmSpec(ENVIRONMENT), GuestCommand(command), streams)
            case "create":
                _show(create_vm(engine, VmSpec(ENVIRONMENT)).id.encode())
            case "start":
                start_vm(engine, vm_id)
            case "exec":
                exec_vm(engine, vm_id, GuestCommand(command), streams)
            case "stop":
                stop_vm(engine, vm_id)
            case "delete":
                delete_vm(engine, vm_id)
            case "list":
                _show(json.dumps([vm.id for vm in list_vms(engine)]).encode())
            case _:
                perform_in_workspace(engine, verb, vm_id, command, streams)


def perform_in_workspace(engine: Engine, verb: str, handle: str, argument: str, streams: CommandStreams) -> None:
    match verb:
        case "ws-create":
            seed = Path(handle) if handle else None
            _show(create_workspace(engine, WorkspaceSpec(ENVIRONMENT, seed=seed)).id.encode())
        case "ws-named":
            _show(create_workspace(engine, WorkspaceSpec(ENVIRONMENT, name=handle)).id.encode())
        case "ws-start":
            start_workspace(engine, handle)
        case "ws-stop":
            stop_workspace(engine, handle)
        case "ws-reset":
            reset_workspace(engine, handle)
        case "ws-reset-to":
            reset_workspace(engine, handle, snapshot=argument)
        case "ws-snapshot" | "ws-snapshot-root":
            create_snapshot(engine, handle, argument, with_root=verb == "ws-snapshot-root")
        case "ws-forget":
            delete_snapshot(engine, handle, argument)
        case "ws-exec":
            exec_workspace(engine, handle, GuestCommand(argument), streams)
        case "ws-delete":
            delete_workspace(engine, handle)
        case "ws-list":
            _show(json.dumps([each.id for each in list_workspaces(engine)]).encode())
        case _:
            raise SystemExit(f"unknown verb {verb}")


def _show(data: bytes) -> None:
    os.write(1, data)


def serve() -> None:
    """Fork for each line of stdin, and print the child's pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _child(order: dict[str, object]) -> None:
    status, limits = 1, resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        os.setsid()
        # As the command line does it: a signal becomes a KeyboardInterrupt, and so does the test's.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(cast("dict[str, str]", order["env"]))
        for fd, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{order['place']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
        if limit := os.environ.get(DESCRIPTORS_VARIABLE):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), limits[1]))
        perform(*cast("list[str]", order["arguments"]))
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:  # noqa: BLE001 - the top of this process
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        traceback.print_exc()
    finally:
        with open(f"{order['place']}.status", "w", encoding="ascii") as file:
            file.write(str(status))
        sys.stderr.flush()
        os._exit(status)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a verb ended; a status of None means that it was killed."""

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Running:
    """A running verb."""

    pid: int
    start_time: int
    place: Path

    def stdout(self) -> str:
        return _text(self.place.with_suffix(".out"))

    def interrupt(self, number: int = signal.SIGINT) -> None:
        process.send_signal(self.pid, self.start_time, number)

    def wait(self) -> Outcome:
        wait_until(
            lambda: process.start_time(self.pid) != self.start_time,
            timeout_s=TIMEOUT_S,
            what="the verb to end",
            tail=lambda: _text(self.place.with_suffix(".err")),
        )
        status = _text(self.place.with_suffix(".status"))
        return Outcome(int(status) if status else None, self.stdout(), _text(self.place.with_suffix(".err")))


class Verbs:
    """Processes that each carry out one verb."""

    def __init__(self, child: process.Child, place: Path) -> None:
        self._child = child
        self._place = place
        self._count = 0

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
        self._count += 1
        place = self._place / f"verb{self._count}"
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        order = {"arguments": arguments, "env": dict(env or {}), "place": str(place)}
        os.write(self._child.stdin, json.dumps(order).encode() + b"\n")
        pid = int(os.read(self._child.stdout, 100))
        return Running(pid, process.start_time(pid) or 0, place)

    def run(self, *arguments: str, **env: str) -> Outcome:
        return self.start(*arguments, env=env).wait()


@contextmanager
def verbs(place: Path) -> Generator[Verbs]:
    """Yield verbs that use this process's directories; their output lies in `place`."""
    with process.start(
        [sys.executable, "-m", "tests.support.one_verb"], stdin=process.PIPE, stdout=process.PIPE, stderr=None
    ) as child:
        yield Verbs(child, place)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    serve()
