"""Benchmark virtual machines: time to the first result, cost of an idle VM, and starting many at once.

Some rows call functions below the SDK, because the SDK deletes a one-shot VM after its first command.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Stopwatch, repeat
from pyro_mcp import Pyro
from pyro_mcp.agent import AgentSession, ExecRequest
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.vms.create import VmSpec, create_vm
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.start import start_vm

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm

_TRUE = ("true",)
_PYTHON = ("python3", "-c", "pass")
_TIMEOUT_S = 60
_IDLE_S = 10.0
_SETTLE_S = 2.0
_CROWD = 20
_WARM_UPS = 5
# A user reads the result of a command before the next one.
_REST_S = 0.05


@dataclass(slots=True)
class _Guest:
    """A started VM and a session with its agent."""

    vm: Vm
    session: AgentSession

    def run(self, argv: tuple[str, ...]) -> None:
        done = self.session.exec(ExecRequest(argv, timeout_s=_TIMEOUT_S, env=self.vm.variables))
        if done.exit_code != 0:
            raise RuntimeError(f"{argv} ended with {done.exit_code}")


@contextmanager
def _started(engine: Engine, environment: str) -> Generator[_Guest]:
    with ExitStack() as stack:
        vm = create_vm(engine, VmSpec(environment))
        stack.callback(delete_vm, engine, vm.id)
        vm = start_vm(engine, vm.id)
        if vm.machine is None:
            raise RuntimeError(f"{vm.id} started without a machine")
        machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
        stack.callback(machine.close)
        yield _Guest(vm, stack.enter_context(AgentSession.open(machine.transport, timeout_s=_TIMEOUT_S)))


def first_results(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure from the call that creates a VM to the end of the first command in it."""
    pyro = Pyro(paths=paths)
    return [
        _first(paths, environment, "create → start → first true done", _TRUE, times, "≤ 300 ms, then 190"),
        _first(paths, environment, "create → start → first python3 -c pass", _PYTHON, times, "≤ 600 ms"),
        repeat(
            "SDK run_in_vm(true), the VM's end included", lambda: pyro.run_in_vm(environment, ["true"]), times=times
        ),
    ]


def _first(paths: Paths, environment: str, what: str, argv: tuple[str, ...], times: int, target: str) -> Row:
    watch = Stopwatch()
    with Engine(paths) as engine:
        for number in range(times + 1):
            with ExitStack() as stack, watch.time():
                guest = stack.enter_context(_started(engine, environment))
                guest.run(argv)
            if number == 0:
                watch.samples.clear()
    return watch.row(what, target=target)


def warm_results(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure commands in a guest that has already run some.

    After a command the agent makes the process for the next one ready; a command that follows at once waits for that.
    """
    with Engine(paths) as engine, _started(engine, environment) as guest:
        return [
            _warm(guest, "warm exec of true", _TRUE, times * 5, target="≤ 20 ms", rest_s=_REST_S),
            _warm(guest, "warm exec of true, one right after the other", _TRUE, times * 5),
            _warm(guest, "warm exec of python3 -c pass", _PYTHON, times, rest_s=_REST_S),
        ]


def _warm(guest: _Guest, what: str, argv: tuple[str, ...], times: int, *, target: str = "", rest_s: float = 0.0) -> Row:
    watch = Stopwatch()
    for _ in range(_WARM_UPS):
        guest.run(argv)
    for _ in range(times):
        _wait(rest_s)
        with watch.time():
            guest.run(argv)
    return watch.row(what, target=target)


def idle_cost(paths: Paths, environment: str, *, guests: int = 4) -> list[Row]:
    """Measure what each further VM costs that is idle after one command: memory of all its processes, and processor.

    Memory is the proportional set size (proc_pid_smaps(5)), as the difference that the last VMs made to the sum over
    all, so that what VMs share is counted once.
    """
    with Engine(paths) as engine, ExitStack() as stack:
        totals: list[float] = []
        pids: list[int] = []
        for _ in range(guests):
            guest = stack.enter_context(_started(engine, environment))
            guest.run(_TRUE)
            pids += _processes(guest.vm)
            totals.append(sum(map(pss_mib, pids)))
        _wait(_SETTLE_S)
        totals[-1] = sum(map(pss_mib, pids))
        before = sum(map(_cpu_s, pids))
        _wait(_IDLE_S)
        percent = (sum(map(_cpu_s, pids)) - before) / _IDLE_S / guests * 100
    memory = tuple(after - first for first, after in itertools.pairwise(totals))
    return [
        Row("each further idle VM, memory", memory, "MiB", "≤ 40 MiB"),
        Row("each idle VM, processor", (percent,), "%", "≤ 0.3 %"),
    ]


def crowd(paths: Paths, environment: str, *, times: int = 3) -> list[Row]:
    """Measure VMs per second when twenty are created at once: until started, and until the first result."""
    rounds = [_crowd_once(paths, environment) for _ in range(times)]
    return [
        Row(f"{_CROWD} VMs created and started at once", tuple(started for started, _ in rounds), "/s", "≥ 9 /s"),
        Row(f"{_CROWD} VMs at once, each with its first true done", tuple(done for _, done in rounds), "/s"),
    ]


def _crowd_once(paths: Paths, environment: str) -> tuple[float, float]:
    """Return both rates of one round. All VMs stay until the last has answered."""
    ready = threading.Barrier(_CROWD + 1)
    answered = threading.Barrier(_CROWD)
    failures: list[Exception] = []
    started_s: list[float] = []
    done_s: list[float] = []

    def create() -> None:
        with Engine(paths) as engine:
            ready.wait()
            try:
                with _started(engine, environment) as guest:
                    started_s.append(time.perf_counter())
                    guest.run(_TRUE)
                    done_s.append(time.perf_counter())
                    answered.wait()
            except Exception as error:  # noqa: BLE001 - carried to the thread that measures
                failures.append(error)
                answered.abort()

    threads = [threading.Thread(target=create) for _ in range(_CROWD)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return _CROWD / (max(started_s) - began), _CROWD / (max(done_s) - began)


def _processes(vm: Vm) -> list[int]:
    """Return the pids of the VM's keeper and its descendants."""
    if vm.machine is None:
        return []
    found, pending = list[int](), [vm.machine.keeper_pid]
    while pending:
        pid = pending.pop()
        found.append(pid)
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        except OSError:
            continue
        pending += map(int, children.split())
    return found


def _wait(seconds: float) -> None:
    """Wait, so that idle behaviour can be measured."""
    threading.Event().wait(seconds)


def pss_mib(pid: int) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _cpu_s(pid: int) -> float:
    try:
        tasks = [each.read_text(encoding="ascii") for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        return 0.0
    return sum(int(task.split()[0]) for task in tasks) / 1e9
