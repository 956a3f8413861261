"""VMs and workspaces as flat rows: for the database, and for the copy in their directory.

A row that is not what this version writes is reported as damaged; the others load.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import parse_vm_id, parse_workspace_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState, WorkspaceState
from pyro_mcp.model.vm import BaseImage, Lease, Owner, Vm
from pyro_mcp.model.workspace import SecretKind, SecretSource, SeedInfo, SeedNote, SeedOrigin, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from sqlite3 import Row

Value = str | int | float | None
_MAX_NUMBER = 2**53
# The end of the year 9999.
_MAX_TIME_S = 253402300799


def vm_to_row(vm: Vm) -> dict[str, Value]:
    """Return the VM as a row: column names and plain values."""
    return {
        **_shared_columns(vm),
        "ephemeral": int(vm.ephemeral),
        "machine": json.dumps(vm.machine.to_json()) if vm.machine else None,
        "network": json.dumps(dict(vm.network)) if vm.network is not None else None,
        "ttl_s": vm.lease.ttl_s,
        "created_at": vm.lease.created_at,
        "expires_at": vm.lease.expires_at,
        "boot_id": vm.lease.boot_id,
        "expires_boottime_s": vm.lease.expires_boottime_s,
        "workspace_id": vm.workspace_id,
    }


def vm_from_row(row: Mapping[str, object]) -> Vm:
    """Return the VM that a row stands for.

    Raises:
        PyroError: CORRUPT, naming the VM where its id can be read.
    """
    try:
        return _vm_from_row(cast("Mapping[str, Value]", row))
    except (KeyError, TypeError, ValueError, RecursionError, PyroError) as error:
        raise PyroError(
            ErrorCode.CORRUPT,
            f"the record of the VM {str(row.get('id', '?'))[:40]!r} is damaged: {error}",
            hint="It is removed, with what is left of that VM.",
        ) from error


def _vm_from_row(row: Mapping[str, Value]) -> Vm:
    machine, network = row["machine"], row["network"]
    return Vm(
        id=parse_vm_id(_text(row["id"])),
        **_shared_fields(row),
        state=VmState(row["state"]),
        ephemeral=bool(row["ephemeral"]),
        lease=Lease(
            ttl_s=number_of(row["ttl_s"]),
            created_at=time_of(row["created_at"]),
            expires_at=time_of(row["expires_at"]),
            boot_id=_text(row["boot_id"]),
            expires_boottime_s=time_of(row["expires_boottime_s"]),
        ),
        machine=None if machine is None else MachineRecord.from_json(_object(machine)),
        network=None if network is None else _object(network),
        # Copies that an earlier version wrote do not have it.
        workspace_id=_text(row.get("workspace_id", "")),
    )


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def number_of(value: object) -> int:
    """Return a whole number of a row, which must be one that the product writes: SQLite holds any of 64 bits.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value} is out of range")
    return value


def time_of(value: object) -> float:
    """Return a time of a row, in seconds, which must be one that a date can be made of: NaN and 1e308 can't.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a time")
    if not 0 <= value <= _MAX_TIME_S:
        raise ValueError(f"{value} is out of range")
    return float(value)


def _object(value: Value) -> dict[str, object]:
    found: object = json.loads(_text(value))
    if not isinstance(found, dict):
        raise TypeError("a JSON object was expected")
    return cast("dict[str, object]", found)


def workspace_to_row(workspace: Workspace) -> dict[str, Value]:
    """Return the workspace as a row: column names and plain values."""
    return {
        **_shared_columns(workspace),
        "name": workspace.name,
        "labels": json.dumps(dict(workspace.labels)),
        "ttl_s": workspace.ttl_s,
        "seed": json.dumps(_seed_document(workspace.seed)),
        "created_at": workspace.created_at,
        "last_activity_at": workspace.last_activity_at,
        "expires_at": workspace.expires_at,
        "boot_id": workspace.boot_id,
        "deadline_boottime_s": workspace.deadline_boottime_s,
        "reset_count": workspace.reset_count,
        "last_reset_at": workspace.last_reset_at,
        "command_count": workspace.command_count,
        "life": workspace.life,
        "vm_id": workspace.vm_id,
        "secrets": json.dumps([[each.name, each.kind.value] for each in workspace.secrets]),
    }


def workspace_from_row(row: Mapping[str, object]) -> Workspace:
    """Return the workspace that a row stands for; columns that are not known are left alone.

    Raises:
        PyroError: CORRUPT, naming the workspace where its id can be read.
    """
    try:
        return _workspace_from_row(cast("Mapping[str, Value]", row))
    except (KeyError, TypeError, ValueError, RecursionError, PyroError) as error:
        raise PyroError(
            ErrorCode.CORRUPT, f"the record of the workspace {str(row.get('id', '?'))[:40]!r} is damaged: {error}"
        ) from error


def _workspace_from_row(row: Mapping[str, Value]) -> Workspace:
    name = row["name"]
    life = number_of(row["life"])
    if life < 1:
        raise ValueError(f"{life} is no life")
    return Workspace(
        id=parse_workspace_id(_text(row["id"])),
        **_shared_fields(row),
        name=None if name is None else _text(name),
        labels=_texts(row["labels"]),
        ttl_s=number_of(row["ttl_s"]),
        state=WorkspaceState(row["state"]),
        seed=_seed(_object(row["seed"])),
        created_at=time_of(row["created_at"]),
        last_activity_at=time_of(row["last_activity_at"]),
        expires_at=_time_or_none(row["expires_at"]),
        boot_id=_text(row["boot_id"]),
        deadline_boottime_s=time_of(row["deadline_boottime_s"]),
        reset_count=number_of(row["reset_count"]),
        last_reset_at=_time_or_none(row["last_reset_at"]),
        command_count=number_of(row["command_count"]),
        life=life,
        vm_id=_vm_id_or_none(row["vm_id"]),
        # A copy of an earlier version has none.
        secrets=tuple(
            SecretSource(name, SecretKind(kind)) for name, kind in _pairs(json.loads(_text(row.get("secrets", "[]"))))
        ),
    )


def owner_columns(owner: Owner | None) -> dict[str, Value]:
    """Return the columns that hold the process which works on something."""
    return {
        "owner_pid": owner.pid if owner else None,
        "owner_start_time": owner.start_time if owner else None,
        "owner_boot_id": owner.boot_id if owner else None,
    }


def owner_from_row(row: Mapping[str, Value] | Row) -> Owner | None:
    """Return the process that those columns name."""
    if row["owner_pid"] is None:
        return None
    return Owner(number_of(row["owner_pid"]), number_of(row["owner_start_time"]), _text(row["owner_boot_id"]))


def _shared_columns(each: Vm | Workspace) -> dict[str, Value]:
    return {
        "id": each.id,
        "environment": each.environment,
        "base_digest": each.base.digest if each.base else None,
        "base_path": each.base.path if each.base else None,
        "boot_digest": each.boot_digest,
        "variables": json.dumps(dict(each.variables)),
        "vcpu_count": each.shape.vcpu_count,
        "mem_mib": each.shape.mem_mib,
        "network_policy": each.network_policy.value,
        "allow_host_compat": int(each.allow_host_compat),
        "require_kvm": int(each.require_kvm),
        "state": each.state.value,
        "stop_reason": each.stop_reason.value if each.stop_reason else None,
        "execution_mode": each.execution_mode.value if each.execution_mode else None,
        "isolation": each.isolation.value if each.isolation else None,
        "last_error": each.last_error,
        **owner_columns(each.owner),
    }


def _shared_fields(row: Mapping[str, Value]) -> dict[str, Any]:
    digest = row["base_digest"]
    return {
        "environment": _text(row["environment"]),
        "base": None if digest is None else BaseImage(_text(digest), _text(row["base_path"])),
        "variables": _texts(row["variables"]),
        "boot_digest": _text(row["boot_digest"]),
        "shape": Shape(number_of(row["vcpu_count"]), number_of(row["mem_mib"])),
        "network_policy": NetworkPolicy(row["network_policy"]),
        "allow_host_compat": bool(row["allow_host_compat"]),
        "require_kvm": bool(row["require_kvm"]),
        "stop_reason": None if (reason := row["stop_reason"]) is None else StopReason(reason),
        "execution_mode": None if (mode := row["execution_mode"]) is None else ExecutionMode(mode),
        "isolation": None if (isolation := row["isolation"]) is None else Isolation(isolation),
        "owner": owner_from_row(row),
        "last_error": _text(row["last_error"]),
    }


def _seed_document(seed: SeedInfo) -> dict[str, object]:
    return {
        "mode": seed.mode,
        "seed_path": seed.seed_path,
        "destination": seed.destination,
        "entry_count": seed.entry_count,
        "bytes_written": seed.bytes_written,
        "origin_kind": seed.origin_kind.value,
        "origin_ref": seed.origin_ref,
        "skipped": [[note.name, note.reason] for note in seed.skipped],
        "skipped_count": seed.skipped_count,
        "changed": [[note.name, note.reason] for note in seed.changed],
        "changed_count": seed.changed_count,
        "host_hooks": [list(hook) for hook in seed.host_hooks],
    }


def _seed(document: dict[str, object]) -> SeedInfo:
    value = cast("dict[str, Value]", document)
    path, ref = value.get("seed_path"), value.get("origin_ref")
    return SeedInfo(
        mode=_text(value["mode"]),
        seed_path=None if path is None else _text(path),
        destination=_text(value["destination"]),
        entry_count=number_of(value["entry_count"]),
        bytes_written=number_of(value["bytes_written"]),
        origin_kind=SeedOrigin(value["origin_kind"]),
        origin_ref=None if ref is None else _text(ref),
        skipped=tuple(SeedNote(*pair) for pair in _pairs(document["skipped"])),
        skipped_count=number_of(value["skipped_count"]),
        changed=tuple(SeedNote(*pair) for pair in _pairs(document["changed"])),
        changed_count=number_of(value["changed_count"]),
        host_hooks=_pairs(document["host_hooks"]),
    )


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for pair in cast("list[object]", value) if isinstance(value, list) else ():
        match pair:
            case [str(first), str(second)]:
                pairs.append((first, second))
            case _:
                raise TypeError(f"{pair!r} is not a pair of texts")
    return tuple(pairs)


def _texts(value: Value) -> dict[str, str]:
    return {name: _text(cast("Value", each)) for name, each in _object(value).items()}


def _vm_id_or_none(value: Value) -> str:
    return parse_vm_id(_text(value)) if value else ""


def _time_or_none(value: Value) -> float | None:
    return None if value is None else time_of(value)
