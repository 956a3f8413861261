"""Run the one command of a one-shot VM: in a fresh VM, which is fastest, or in one already started.

The VM is deleted afterwards, however the command and this call end. A run writes at most three small transactions.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.ids import parse_vm_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.store import is_alive, this_process
from pyro_mcp.workspace.certificates import for_guest
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.command import CommandStreams, Execution, GuestCommand, run_command
from pyro_mcp.workspace.machines.ephemeral import delete_if_there, ephemeral_vm, record_machine
from pyro_mcp.workspace.machines.launch import egress_of, guest_config, launch
from pyro_mcp.workspace.machines.spec import StartPlan
from pyro_mcp.workspace.vms.create import VmSpec, planned
from pyro_mcp.workspace.vms.status import require_one_shot


def run_in_vm(engine: Engine, spec: VmSpec, command: GuestCommand, streams: CommandStreams | None = None) -> Execution:
    """Run a command in a fresh VM and delete the VM.

    Raises:
        PyroError: NOT_FOUND for an unknown environment; the reason why this host can't run it; NO_SPACE; the reason why
            the command can't run or has no result. The VM is deleted then too.
    """
    streams = streams or CommandStreams()
    engine.reconcile()
    engine.progress.phase("create", f"environment={spec.environment}")
    vm, choice, images = planned(engine, spec)
    streams.check()
    with ExitStack() as stack:
        vm = stack.enter_context(ephemeral_vm(engine, vm, images))
        engine.progress.phase("start", f"vm_id={vm.id}")
        egress = stack.enter_context(egress_of(engine, vm))
        machine = launch(engine, StartPlan(vm, choice, images, Flavour.FRESH), egress)
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
            config=guest_config(
                vm,
                flavour=Flavour.FRESH,
                network=None if egress is None else egress.guest,
                certificates=for_guest(spec.ca_certificates),
            ),
        )
        fault_point("run.ended")
        return execution


def exec_vm(engine: Engine, vm_id: str, command: GuestCommand, streams: CommandStreams | None = None) -> Execution:
    """Run a command in a started VM, then delete the VM.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is not running, BUSY if it already runs a command: both leave it unchanged.
            The reason why the command can't run or has no result: it is deleted then.
    """
    engine.reconcile()
    with ExitStack() as stack:
        vm = engine.store.vms.update(parse_vm_id(vm_id), _claimed)
        stack.callback(delete_if_there, engine, vm.id)
        fault_point("exec.claimed")
        if vm.machine is None:
            raise PyroError(ErrorCode.INTERNAL, f"{vm.id} is started but has no machine")
        engine.progress.phase("execute", f"vm_id={vm.id}")
        machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
        stack.callback(machine.close)
        execution = run_command(
            engine,
            vm,
            machine,
            command,
            streams or CommandStreams(),
            execution_mode=vm.execution_mode or ExecutionMode.of(vm.machine.kind),
            isolation=vm.isolation or Isolation.of(vm.machine.accelerator),
        )
        fault_point("exec.ended")
        return execution


def _claimed(now: Vm) -> Vm:
    require_one_shot(now)
    if now.state is not VmState.STARTED:
        raise PyroError(
            ErrorCode.CONFLICT,
            f"{now.id} is {now.state.value}, and a command needs a started VM",
            hint="Start it first." if now.state is not VmState.DELETING else "Create another one.",
            details={"vm_id": now.id, "state": now.state.value},
        )
    if now.owner is not None and is_alive(now.owner):
        raise PyroError(
            ErrorCode.BUSY,
            f"{now.id} already runs its command",
            hint="A one-shot VM runs one command. Create another one.",
            details={"vm_id": now.id},
        )
    return replace(now, owner=this_process())
