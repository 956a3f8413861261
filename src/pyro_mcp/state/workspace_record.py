"""A workspace as a flat row: for the database, and for the copy that lies in the workspace's directory.

Owns the form of the row in both directions. Refuses rows that are not what this version writes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import parse_workspace_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.vm import BaseImage, Owner
from pyro_mcp.model.workspace import SecretKind, SecretSource, SeedInfo, SeedNote, SeedOrigin, Workspace
from pyro_mcp.model.workspace_states import WorkspaceState

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | float | None


def to_row(workspace: Workspace) -> dict[str, Value]:
    """Return the workspace as a row: column names and plain values."""
    base, owner = workspace.base, workspace.owner
    return {
        "id": workspace.id,
        "name": workspace.name,
        "labels": json.dumps(dict(workspace.labels)),
        "environment": workspace.environment,
        "base_digest": base.digest if base else None,
        "base_path": base.path if base else None,
        "variables": json.dumps(dict(workspace.variables)),
        "boot_digest": workspace.boot_digest,
        "vcpu_count": workspace.shape.vcpu_count,
        "mem_mib": workspace.shape.mem_mib,
        "ttl_s": workspace.ttl_s,
        "network_policy": workspace.network_policy.value,
        "allow_host_compat": int(workspace.allow_host_compat),
        "require_kvm": int(workspace.require_kvm),
        "state": workspace.state.value,
        "stop_reason": workspace.stop_reason.value if workspace.stop_reason else None,
        "execution_mode": workspace.execution_mode.value if workspace.execution_mode else None,
        "isolation": workspace.isolation.value if workspace.isolation else None,
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
        "owner_pid": owner.pid if owner else None,
        "owner_start_time": owner.start_time if owner else None,
        "owner_boot_id": owner.boot_id if owner else None,
        "last_error": workspace.last_error,
        "secrets": json.dumps([[each.name, each.kind.value] for each in workspace.secrets]),
    }


def from_row(row: Mapping[str, object]) -> Workspace:
    """Return the workspace that a row stands for; columns that are not known are left alone.

    Raises:
        PyroError: CORRUPT, naming the workspace where its id can be read.
    """
    try:
        return _from_row(cast("Mapping[str, Value]", row))
    except (KeyError, TypeError, ValueError, RecursionError, PyroError) as error:
        raise PyroError(
            ErrorCode.CORRUPT, f"the record of the workspace {str(row.get('id', '?'))[:40]!r} is damaged: {error}"
        ) from error


def _from_row(row: Mapping[str, Value]) -> Workspace:
    name, base_digest, owner_pid = row["name"], row["base_digest"], row["owner_pid"]
    life = _number(row["life"])
    if life < 1:
        raise ValueError(f"{life} is no life")
    return Workspace(
        id=parse_workspace_id(_text(row["id"])),
        name=None if name is None else _text(name),
        labels=_texts(row["labels"]),
        environment=_text(row["environment"]),
        base=None if base_digest is None else BaseImage(_text(base_digest), _text(row["base_path"])),
        variables=_texts(row["variables"]),
        boot_digest=_text(row["boot_digest"]),
        shape=Shape(_number(row["vcpu_count"]), _number(row["mem_mib"])),
        ttl_s=_number(row["ttl_s"]),
        network_policy=NetworkPolicy(row["network_policy"]),
        allow_host_compat=bool(row["allow_host_compat"]),
        require_kvm=bool(row["require_kvm"]),
        state=WorkspaceState(row["state"]),
        stop_reason=None if (reason := row["stop_reason"]) is None else StopReason(reason),
        execution_mode=None if (mode := row["execution_mode"]) is None else ExecutionMode(mode),
        isolation=None if (isolation := row["isolation"]) is None else Isolation(isolation),
        seed=_seed(_object(row["seed"])),
        created_at=_time(row["created_at"]),
        last_activity_at=_time(row["last_activity_at"]),
        expires_at=_time_or_none(row["expires_at"]),
        boot_id=_text(row["boot_id"]),
        deadline_boottime_s=_time(row["deadline_boottime_s"]),
        reset_count=_number(row["reset_count"]),
        last_reset_at=_time_or_none(row["last_reset_at"]),
        command_count=_number(row["command_count"]),
        life=life,
        vm_id=_text(row["vm_id"]),
        owner=None
        if owner_pid is None
        else Owner(_number(owner_pid), _number(row["owner_start_time"]), _text(row["owner_boot_id"])),
        last_error=_text(row["last_error"]),
        # A copy of an earlier version has none.
        secrets=tuple(
            SecretSource(name, SecretKind(kind)) for name, kind in _pairs(json.loads(_text(row.get("secrets", "[]"))))
        ),
    )


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
        entry_count=_number(value["entry_count"]),
        bytes_written=_number(value["bytes_written"]),
        origin_kind=SeedOrigin(value["origin_kind"]),
        origin_ref=None if ref is None else _text(ref),
        skipped=tuple(SeedNote(*pair) for pair in _pairs(document["skipped"])),
        skipped_count=_number(value["skipped_count"]),
        changed=tuple(SeedNote(*pair) for pair in _pairs(document["changed"])),
        changed_count=_number(value["changed_count"]),
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


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(value: Value) -> dict[str, str]:
    return {name: _text(cast("Value", each)) for name, each in _object(value).items()}


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _time(value: Value) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a time")
    return float(value)


def _time_or_none(value: Value) -> float | None:
    return None if value is None else _time(value)


def _object(value: Value) -> dict[str, object]:
    found: object = json.loads(_text(value))
    if not isinstance(found, dict):
        raise TypeError("a JSON object was expected")
    return cast("dict[str, object]", found)
