"""A VM as a flat row: for the database, and for the copy that lies in the VM's directory.

Owns the form of the row in both directions. Refuses rows that are not what this version writes: one damaged row is
reported as such, the others load.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import parse_vm_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import BaseImage, Lease, Owner, Vm

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | float | None


def to_row(vm: Vm) -> dict[str, Value]:
    """Return the VM as a row: column names and plain values."""
    return {
        "id": vm.id,
        "environment": vm.environment,
        "base_digest": vm.base.digest if vm.base else None,
        "base_path": vm.base.path if vm.base else None,
        "boot_digest": vm.boot_digest,
        "variables": json.dumps(dict(vm.variables)),
        "vcpu_count": vm.shape.vcpu_count,
        "mem_mib": vm.shape.mem_mib,
        "network_policy": vm.network_policy.value,
        "allow_host_compat": int(vm.allow_host_compat),
        "require_kvm": int(vm.require_kvm),
        "ephemeral": int(vm.ephemeral),
        "state": vm.state.value,
        "stop_reason": vm.stop_reason.value if vm.stop_reason else None,
        "execution_mode": vm.execution_mode.value if vm.execution_mode else None,
        "isolation": vm.isolation.value if vm.isolation else None,
        "machine": json.dumps(vm.machine.to_json()) if vm.machine else None,
        "network": json.dumps(dict(vm.network)) if vm.network is not None else None,
        "owner_pid": vm.owner.pid if vm.owner else None,
        "owner_start_time": vm.owner.start_time if vm.owner else None,
        "owner_boot_id": vm.owner.boot_id if vm.owner else None,
        "ttl_s": vm.lease.ttl_s,
        "created_at": vm.lease.created_at,
        "expires_at": vm.lease.expires_at,
        "boot_id": vm.lease.boot_id,
        "expires_boottime_s": vm.lease.expires_boottime_s,
        "last_error": vm.last_error,
        "workspace_id": vm.workspace_id,
    }


def from_row(row: Mapping[str, object]) -> Vm:
    """Return the VM that a row stands for.

    Raises:
        PyroError: CORRUPT, naming the VM where its id can be read.
    """
    try:
        return _from_row(cast("Mapping[str, Value]", row))
    except (KeyError, TypeError, ValueError, RecursionError, PyroError) as error:
        raise PyroError(
            ErrorCode.CORRUPT,
            f"the record of the VM {str(row.get('id', '?'))[:40]!r} is damaged: {error}",
            hint="It is removed, with what is left of that VM.",
        ) from error


def _from_row(row: Mapping[str, Value]) -> Vm:
    base_digest, base_path, network = row["base_digest"], row["base_path"], row["network"]
    machine, owner_pid = row["machine"], row["owner_pid"]
    return Vm(
        id=parse_vm_id(_text(row["id"])),
        environment=_text(row["environment"]),
        base=None if base_digest is None else BaseImage(_text(base_digest), _text(base_path)),
        boot_digest=_text(row["boot_digest"]),
        variables={name: _text(cast("Value", value)) for name, value in _object(row["variables"]).items()},
        shape=Shape(_number(row["vcpu_count"]), _number(row["mem_mib"])),
        network_policy=NetworkPolicy(row["network_policy"]),
        allow_host_compat=bool(row["allow_host_compat"]),
        require_kvm=bool(row["require_kvm"]),
        ephemeral=bool(row["ephemeral"]),
        lease=Lease(
            ttl_s=_number(row["ttl_s"]),
            created_at=_time(row["created_at"]),
            expires_at=_time(row["expires_at"]),
            boot_id=_text(row["boot_id"]),
            expires_boottime_s=_time(row["expires_boottime_s"]),
        ),
        state=VmState(row["state"]),
        stop_reason=None if (reason := row["stop_reason"]) is None else StopReason(reason),
        execution_mode=None if (mode := row["execution_mode"]) is None else ExecutionMode(mode),
        isolation=None if (isolation := row["isolation"]) is None else Isolation(isolation),
        machine=None if machine is None else MachineRecord.from_json(_object(machine)),
        network=None if network is None else _object(network),
        owner=None
        if owner_pid is None
        else Owner(_number(owner_pid), _number(row["owner_start_time"]), _text(row["owner_boot_id"])),
        last_error=_text(row["last_error"]),
        # Copies that an earlier version wrote do not have it.
        workspace_id=_text(row.get("workspace_id", "")),
    )


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _time(value: Value) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a time")
    return float(value)


def _object(value: Value) -> dict[str, object]:
    found: object = json.loads(_text(value))
    if not isinstance(found, dict):
        raise TypeError("a JSON object was expected")
    return cast("dict[str, object]", found)
