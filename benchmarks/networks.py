"""Benchmark what filtering by host name costs a workspace, against a network without a filter."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machines import pss_mib
from benchmarks.measure import Row, Stopwatch
from pyro_mcp import Pyro
from pyro_mcp.host.process.identity import all_processes

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths

_MANY = 5
_TRUE = ["true"]
_REFUSED = "curl -sS -o /dev/null -w '%{time_total}\\n' --resolve refused.test:80:198.51.100.10 http://refused.test/"


def rows(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure creations in pairs, the memory of networks, and refusals."""
    pyro = Pyro(paths=paths)
    creations = _creations(pyro, environment, times)
    return [*creations, *_memory(pyro, paths, environment), _refusals(pyro, environment, times)]


def _creations(pyro: Pyro, environment: str, times: int) -> list[Row]:
    """Create in pairs, since another load on the machine then slows both."""
    watches = {"egress": Stopwatch(), "packages": Stopwatch()}
    for turn in range(times + 1):
        for policy, watch in watches.items():
            with (Stopwatch() if turn == 0 else watch).time():
                workspace_id = _create(pyro, environment, policy)
                pyro.exec_workspace(workspace_id, command=_TRUE)
            pyro.delete_workspace(workspace_id)
    pairs = zip(watches["egress"].samples, watches["packages"].samples, strict=True)
    more = tuple(filtered - free for free, filtered in pairs)
    return [
        *(watch.row(f"network {policy}: create → first true done") for policy, watch in watches.items()),
        Row("network packages: what it takes longer than egress", more, target="≤ 60 ms"),
    ]


def _memory(pyro: Pyro, paths: Paths, environment: str) -> list[Row]:
    """Compare the memory of networks: what a filter adds to each workspace, alone and among others."""
    found: list[Row] = []
    for count in (1, _MANY):
        used = {policy: _used_mib(pyro, paths, environment, policy, count) for policy in ("egress", "packages")}
        more = (used["packages"] - used["egress"]) / count
        found.append(Row(f"network packages: memory of a filter, {count} running", (more,), "MiB", "≤ 12 MiB"))
    return found


def _used_mib(pyro: Pyro, paths: Paths, environment: str, policy: str, count: int) -> float:
    """Return the memory of the networks of some workspaces that have each run a command."""
    made: list[str] = []
    others = {path.name for path in paths.vms.iterdir()}
    try:
        for _ in range(count):
            made.append(_create(pyro, environment, policy))
            pyro.exec_workspace(made[-1], command=_TRUE)
        vms = {path.name for path in paths.vms.iterdir()} - others
        return sum(pss_mib(pid) for vm_id in vms for pid in _network_of(vm_id))
    finally:
        for workspace_id in made:
            pyro.delete_workspace(workspace_id)


def _network_of(vm_id: str) -> list[int]:
    """Return the processes of a VM's network: those that see its directory, or are given its path."""
    found: list[int] = []
    for each in all_processes():
        with suppress(OSError):
            known = [Path(f"/proc/{each.pid}/{name}").read_bytes() for name in ("cmdline", "mountinfo")]
            if any(f"{vm_id}/network".encode() in text for text in known):
                found.append(each.pid)
    return found


def _refusals(pyro: Pyro, environment: str, times: int) -> Row:
    workspace_id = _create(pyro, environment, "packages")
    try:
        said = pyro.exec_workspace(workspace_id, command=f"for n in $(seq {times}); do {_REFUSED}; done").stdout
    finally:
        pyro.delete_workspace(workspace_id)
    return Row(
        "network packages: answer to a refused request",
        tuple(1000 * float(line) for line in said.split()),
        target="≤ 50 ms",
    )


def _create(pyro: Pyro, environment: str, policy: str) -> str:
    return pyro.create_workspace(environment, network_policy=policy).workspace_id
