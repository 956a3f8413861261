"""Machines for tests of drivers: directories, specs, and a template for fast starts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.agent import AgentSession
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm.driver import BootFiles, BootPlan, Drive, MachineSpec, RestorePlan
from pyro_mcp.vmm.template import Template, TemplateParts, host_cpu, open_template, seal_template

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from pyro_mcp.vmm.driver import Driver, Machine

CONNECT_TIMEOUT_S = 10.0
READY_TIMEOUT_S = 90.0
SHAPE = Shape(vcpu_count=1, mem_mib=256)
DISK_BYTES = 64 * 1024 * 1024


@dataclass
class Bench:
    """A driver and the parts of its machines; `template` is None for a driver without templates."""

    driver: Driver
    accelerator: Accelerator
    boot_files: BootFiles | None = None
    template: Template | None = None

    @property
    def is_guest(self) -> bool:
        return self.driver.kind is not VmmKind.HOST

    def spec(
        self,
        home: Path,
        *,
        ttl_s: float = 300,
        runtime_dir: Path | None = None,
        drives: Sequence[Drive] | None = None,
        remove_at_ttl: Sequence[Path] = (),
        network_fd: int | None = None,
    ) -> MachineSpec:
        runtime = runtime_dir or home / "run"
        state = home / "state"
        runtime.mkdir(parents=True, mode=0o700)
        state.mkdir(parents=True, mode=0o700, exist_ok=True)
        if drives is None:
            drives = make_drives(home) if self.is_guest else ()
        return MachineSpec(
            vm_id="vm_test",
            shape=SHAPE,
            drives=tuple(drives),
            runtime_dir=runtime,
            state_dir=state,
            ttl_s=ttl_s,
            network_fd=network_fd,
            remove_at_end=(runtime,),
            remove_at_ttl=tuple(remove_at_ttl),
        )

    def start(self, spec: MachineSpec) -> Machine:
        """Start a machine, from the template if there is one."""
        if self.template is not None:
            return self.driver.restore(RestorePlan(spec, self.accelerator, self.template))
        return self.driver.boot(BootPlan(spec, self.accelerator, self.boot_files))

    @contextmanager
    def started(self, spec: MachineSpec) -> Generator[Machine]:
        machine = self.start(spec)
        try:
            yield machine
        finally:
            machine.kill()
            for path in spec.remove_at_ttl:
                remove_tree(path)


def make_drives(home: Path) -> tuple[Drive, Drive]:
    """Make two empty disks, one of them read-only; every guest of these tests has the same."""
    paths = home / "base.img", home / "root.img"
    for path in paths:
        with open(path, "xb") as file:
            file.truncate(DISK_BYTES)
    return Drive(paths[0], read_only=True), Drive(paths[1], volatile=True)


def greet(machine: Machine) -> None:
    """Wait until the agent answers."""
    with AgentSession.open(machine.transport, timeout_s=CONNECT_TIMEOUT_S) as session:
        session.ready(timeout_s=READY_TIMEOUT_S)
        session.ping()


def template_parts(bench: Bench, flavour: str = "test") -> TemplateParts:
    return TemplateParts(
        kind=bench.driver.kind,
        accelerator=bench.accelerator,
        vmm=bench.driver.identity(),
        shape=SHAPE,
        boot_digest="test",
        generation=1,
        base_digest="",
        flavour=flavour,
        cpu=host_cpu(),
    )


def make_template(bench: Bench, directory: Path) -> Template:
    """Boot a guest until its agent answers, and save it in `directory`."""
    directory.mkdir(mode=0o700)
    spec = bench.spec(directory / "home")
    machine = bench.driver.boot(BootPlan(spec, bench.accelerator, bench.boot_files, directory / "ram"))
    try:
        greet(machine)
        bench.driver.save(machine, directory)
    finally:
        machine.kill()
        remove_tree(directory / "home")
    parts = template_parts(bench)
    seal_template(directory, parts)
    return open_template(directory, parts.key)
