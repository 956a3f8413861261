"""The product's values: frozen dataclasses, closed sets, and the tables of legal transitions."""

from __future__ import annotations

from pyro_mcp.model.ids import is_vm_id, new_vm_id, parse_vm_id
from pyro_mcp.model.kinds import Accelerator, ExecutionMode, Isolation, NetworkPolicy, StopReason, VmmKind
from pyro_mcp.model.limits import Shape, check_timeout, check_ttl
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState, may_follow, require_transition
from pyro_mcp.model.vm import BaseImage, Lease, Owner, Vm

__all__ = [
    "Accelerator",
    "BaseImage",
    "ExecutionMode",
    "Isolation",
    "Lease",
    "MachineRecord",
    "NetworkPolicy",
    "Owner",
    "Shape",
    "StopReason",
    "Vm",
    "VmState",
    "VmmKind",
    "check_timeout",
    "check_ttl",
    "is_vm_id",
    "may_follow",
    "new_vm_id",
    "parse_vm_id",
    "require_transition",
]
