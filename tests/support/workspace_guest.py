"""Real guests with a workspace's disks, for tests of the agent without the operations on workspaces."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.agent import AgentSession, Flavour, GuestConfig, RootDisk
from pyro_mcp.host.durable import remove_tree, sparse_copy
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Silent
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.trees.seed import seed_disk
from pyro_mcp.vmm.driver import Drive, RestorePlan
from pyro_mcp.vmm.template import ROOT_DISK
from pyro_mcp.workspace.machines.boot import boot
from pyro_mcp.workspace.machines.disks import copy_root_disk
from pyro_mcp.workspace.machines.ephemeral import delete_if_there
from pyro_mcp.workspace.machines.images import images_of
from pyro_mcp.workspace.machines.selection import choose, demands_of
from pyro_mcp.workspace.machines.spec import TemplateRequest, machine_spec, make_directories
from pyro_mcp.workspace.machines.templates import using_template
from tests.support.agents import TIMEOUT_S
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.model.vm import Vm
    from pyro_mcp.vmm.driver import Machine

CONFIGURE_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Disks:
    """The disks of a workspace; the first start creates the root disk."""

    directory: Path
    root: Path = field(init=False)
    workspace: Path = field(init=False)
    baseline: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.workspace, self.baseline = (
            self.directory / f"{name}.img" for name in ("root", "workspace", "baseline")
        )

    def seed(self, source: Path | None) -> None:
        """Make the workspace's disk from a tree, and its baseline."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed_disk(source, self.workspace, ROOT_DISK_BYTES, Silent())
        with open(self.workspace, "rb") as disk, open(self.baseline, "xb") as copy:
            sparse_copy(disk.fileno(), copy.fileno())


class WorkspaceBench:
    """Starts guests on the disks of workspaces."""

    def __init__(self, home: Path) -> None:
        self.yard = HostFixture(Paths(cache=Paths.from_environment().cache, state=home / "state", runtime=home / "run"))
        # The store is opened now, not within the first test that uses it.
        self.yard.engine.reconcile()

    def close(self) -> None:
        self.yard.close()

    @contextmanager
    def running(
        self, disks: Disks, *, inspect: bool = False, output: Path | None = None, configure: bool = True
    ) -> Generator[Machine]:
        """Start a guest: the first time with a fresh root disk, later with the existing one."""
        vm = self.yard.create()
        flavour = Flavour.ATTACH if disks.root.exists() else Flavour.FRESH
        with ExitStack() as stack:
            stack.callback(delete_if_there, self.yard.engine, vm.id)
            machine = self._restore(vm, disks, flavour, output)
            stack.callback(machine.close)
            stack.callback(machine.kill)
            if configure:
                with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
                    session.configure(configuration(flavour, inspect=inspect), timeout_s=CONFIGURE_TIMEOUT_S)
            yield machine

    def _restore(self, vm: Vm, disks: Disks, flavour: Flavour, output: Path | None) -> Machine:
        engine = self.yard.engine
        choice, images = choose(engine, demands_of(vm)), images_of(engine, vm)
        drives = (
            Drive(images.environment.base_image, read_only=True),
            Drive(disks.root, volatile=True),
            Drive(disks.workspace, volatile=True),
            Drive(disks.baseline, read_only=True) if output is None else Drive(output, volatile=True),
        )
        spec = machine_spec(engine, vm, make_directories(engine, vm), drives)
        if output is not None:
            # A template's guest has the baseline's disk for one that can't be written to.
            return boot(choice, spec, images, flavour)
        with using_template(engine, TemplateRequest(choice, images, vm.shape, flavour)) as template:
            if flavour is Flavour.FRESH:
                copy_root_disk(template, ROOT_DISK, disks.root)
            return choice.driver.restore(RestorePlan(spec, choice.accelerator, template))


def configuration(flavour: Flavour, *, inspect: bool = False) -> GuestConfig:
    """Return the configuration of a guest with a workspace."""
    return GuestConfig(
        hostname="guest-test01",
        machine_id=os.urandom(16).hex(),
        root=RootDisk.MOUNTED if flavour is Flavour.FRESH else RootDisk.ATTACH,
        workspace=True,
        inspect=inspect,
    )


@contextmanager
def workspace_bench(home: Path) -> Generator[WorkspaceBench]:
    """Yield a bench in a directory of its own, and remove the directory."""
    bench = WorkspaceBench(home)
    try:
        yield bench
    finally:
        bench.close()
        remove_tree(home)
