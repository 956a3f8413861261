"""One command in a fresh VM that is gone afterwards: the product's main job, and its fastest path.

Owns the whole life in one place: recorded, restored, configured and told its command in one breath, taken away. Refuses
to write more than three small transactions, and to leave anything behind however it ends.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour
from pyro_mcp.host.faults import fault_point
from pyro_mcp.workspace.machines.command import CommandStreams, run_command
from pyro_mcp.workspace.machines.ephemeral import passing_vm, record_machine
from pyro_mcp.workspace.machines.launch import egress_of, guest_config, launch
from pyro_mcp.workspace.vm_create import planned

if TYPE_CHECKING:
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.command import Execution, GuestCommand
    from pyro_mcp.workspace.spec import VmSpec


def run_in_vm(engine: Engine, spec: VmSpec, command: GuestCommand, streams: CommandStreams | None = None) -> Execution:
    """Run a command in a fresh VM and delete the VM.

    Raises:
        PyroError: NOT_FOUND for an unknown environment; what keeps this host from running it; NO_SPACE; what keeps
            the command from running or its result from coming. The VM is gone then too.
    """
    streams = streams or CommandStreams()
    engine.reconcile()
    engine.progress.phase("create", f"environment={spec.environment}")
    vm, choice, images = planned(engine, spec)
    streams.check()
    with ExitStack() as stack:
        vm = stack.enter_context(passing_vm(engine, vm, images))
        engine.progress.phase("start", f"vm_id={vm.id}")
        egress = stack.enter_context(egress_of(vm))
        machine = launch(
            engine,
            vm,
            choice,
            images,
            flavour=Flavour.FRESH,
            network_fd=None if egress is None else egress.vmm_fd,
        )
        stack.callback(machine.close)
        stack.callback(machine.kill)
        vm = record_machine(engine, vm, machine, choice)
        engine.progress.phase("execute", f"vm_id={vm.id}")
        if egress is not None:
            egress.wait_ready()
        execution = run_command(
            engine,
            vm,
            machine,
            command,
            streams,
            execution_mode=choice.execution_mode,
            isolation=choice.isolation,
            config=guest_config(vm, flavour=Flavour.FRESH, network=None if egress is None else egress.guest),
        )
        fault_point("run.ended")
        return execution
