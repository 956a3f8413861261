"""Decide what to do about a VM, from its record and what still runs. `reconcile` acts on it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import assert_never

from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Owner, Vm
from pyro_mcp.state.clock import Clock


class Verdict(StrEnum):
    """Name what a VM needs."""

    LEAVE = "leave"
    DELETE = "delete"
    UNDO_START = "undo_start"
    FINISH_STOP = "finish_stop"
    MARK_LOST = "mark_lost"


def judge(
    vm: Vm,
    clock: Clock,
    *,
    is_alive: Callable[[Owner], bool],
    is_running: Callable[[MachineRecord], bool],
    is_claimed: bool = False,
) -> Verdict:
    """Return what to do with a VM, given which processes are alive.

    A VM whose time is up goes, whichever process has it. One on which a living process works is left to that. Half-done
    work of a dead process is undone or finished; a VM whose one command was cut off goes, as after every command.
    The VM of a workspace that claims it is the workspace's matter; one that none claims, or not any more, goes.
    """
    if vm.workspace_id:
        lives = is_claimed or (vm.owner is not None and is_alive(vm.owner))
        return Verdict.LEAVE if lives else Verdict.DELETE
    if clock.remaining_s(vm.lease) <= 0:
        return Verdict.DELETE
    if vm.owner is not None and is_alive(vm.owner):
        return Verdict.LEAVE
    if vm.ephemeral:
        return Verdict.DELETE
    match vm.state:
        case VmState.CREATING | VmState.DELETING:
            return Verdict.DELETE
        case VmState.STARTING:
            return Verdict.UNDO_START
        case VmState.STOPPING:
            return Verdict.FINISH_STOP
        case VmState.STARTED if vm.owner is not None:
            return Verdict.DELETE
        case VmState.STARTED:
            return Verdict.LEAVE if vm.machine is not None and is_running(vm.machine) else Verdict.MARK_LOST
        case VmState.CREATED | VmState.STOPPED | VmState.FAILED:
            return Verdict.LEAVE
        case _:
            assert_never(vm.state)
