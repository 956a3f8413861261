"""Measure the host's processor time, memory and disk space that VMs use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.host.process.identity import start_time
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.workspace.engine import Engine

_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class VmUsage:
    """The usage of one VM: processor seconds since its start, bytes of memory, and bytes of disk with its snapshots.

    `workspace_id` and `name` are empty for a one-shot VM.
    """

    vm_id: str
    workspace_id: str
    name: str
    vcpu_count: int
    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int
    disk_bytes: int


def measure(engine: Engine) -> tuple[VmUsage, ...]:
    """Measure each running VM.

    Raises:
        PyroError: the store can't be used.
    """
    engine.reconcile()
    names = {each.id: each.name or "" for each in engine.store.workspaces.all()[0]}
    found: list[VmUsage] = []
    for vm in engine.store.vms.all()[0]:
        # It may end while it is measured.
        with suppress(OSError, ValueError):
            if vm.machine is not None and start_time(vm.machine.vmm_pid) == vm.machine.vmm_start_time:
                found.append(_usage(engine, vm, vm.machine.vmm_pid, names.get(vm.workspace_id or "", "")))
    return tuple(sorted(found, key=lambda each: each.vm_id))


def _usage(engine: Engine, vm: Vm, pid: int, name: str) -> VmUsage:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    with open(f"/proc/{pid}/statm", "rb") as file:
        resident_pages = int(file.read().split()[1])
    directories = [VmFiles(engine.paths, vm.id).directory]
    if vm.workspace_id:
        directories.append(WorkspaceFiles(engine.paths, vm.workspace_id).directory)
    return VmUsage(
        vm.id,
        vm.workspace_id or "",
        name,
        vm.shape.vcpu_count,
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        resident_pages * os.sysconf("SC_PAGE_SIZE"),
        vm.shape.mem_mib * 1024**2,
        sum(_blocks(directories)) * _BLOCK_BYTES,
    )


def _blocks(directories: list[Path]) -> Iterator[int]:
    """Yield the blocks of each file, counting hard links once."""
    seen: set[tuple[int, int]] = set()
    for directory in directories:
        for place, _, names in os.walk(directory):
            for name in names:
                with suppress(OSError):
                    found = os.lstat(os.path.join(place, name))
                    if (found.st_dev, found.st_ino) not in seen:
                        seen.add((found.st_dev, found.st_ino))
                        yield found.st_blocks
