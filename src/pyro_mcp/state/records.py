"""Convert records to and from flat rows, for the database and for the copies of VMs and workspaces.

A row that this version would not write is reported as damaged, without affecting others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.codec import field_readers, to_json
from pyro_mcp.model.ids import parse_vm_id, parse_workspace_id
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.vm import BaseImage, Lease, Owner, Vm
from pyro_mcp.model.workspace import Workspace

Value = str | int | float | None
T = TypeVar("T")
R = TypeVar("R", Vm, Workspace)

# SQLite stores any 64-bit number, but no count comes near that.
_MAX_NUMBER = 2**53
# Fields that are flattened into columns, with the prefix of the column names.
_PARTS: Mapping[str, tuple[str, type[Any]]] = {
    "base": ("base_", BaseImage),
    "shape": ("", Shape),
    "lease": ("", Lease),
    "owner": ("owner_", Owner),
}
# Fields that are stored as JSON, which encodes arguments that are not UTF-8 in ASCII.
_JSON = frozenset(
    {
        "variables",
        "machine",
        "network",
        "labels",
        "seed",
        "secrets",
        "ca_certificates",
        "command",
        "cwd",
        "summary",
        "allow_hosts",
        "deny_hosts",
    }
)


def to_row(record: Any) -> dict[str, Value]:  # noqa: ANN401 - any record
    """Return a record as a row of column names and plain values."""
    row: dict[str, Value] = {}
    for name in (each.name for each in fields(record)):
        value = getattr(record, name)
        if name in _PARTS:
            row |= {column: None if value is None else getattr(value, part) for column, part in _columns_of(name)}
        elif name in _JSON:
            row[name] = None if value is None else json.dumps(to_json(value))
        else:
            row[name] = int(value) if isinstance(value, bool) else to_json(value)
    return row


def columns(kind: type[Any]) -> list[str]:
    """Return the column names of this kind of record."""
    found: list[str] = []
    for each in fields(kind):
        found += [column for column, _ in _columns_of(each.name)] if each.name in _PARTS else [each.name]
    return found


def from_row(kind: type[T], row: Mapping[str, object]) -> T:
    """Return the record of this kind from a row, ignoring unknown columns.

    Raises:
        PyroError: CORRUPT.
    """
    try:
        return _from_row(kind, row)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise PyroError(ErrorCode.CORRUPT, f"a row is damaged: {error}") from error


def vm_from_row(row: Mapping[str, object]) -> Vm:
    """Return the VM of a row.

    Raises:
        PyroError: CORRUPT, naming the VM if its id is readable.
    """
    return _named(Vm, row, "VM", "It is removed, with what is left of that VM.")


def workspace_from_row(row: Mapping[str, object]) -> Workspace:
    """Return the workspace of a row, ignoring unknown columns.

    Raises:
        PyroError: CORRUPT, naming the workspace if its id is readable.
    """
    return _named(Workspace, row, "workspace")


def _named(kind: type[R], row: Mapping[str, object], what: str, hint: str = "") -> R:
    try:
        record = from_row(kind, row)
        if isinstance(record, Vm):
            parse_vm_id(record.id)
        else:
            parse_workspace_id(record.id)
            if record.vm_id:
                parse_vm_id(record.vm_id)
            if record.life < 1:
                raise PyroError(ErrorCode.CORRUPT, f"{record.life} is not a generation")
    except PyroError as error:
        named = f"the record of the {what} {str(row.get('id', '?'))[:40]!r}"
        raise PyroError(ErrorCode.CORRUPT, f"{named} is damaged: {error.message}", hint=hint) from error
    return record


def _from_row(kind: type[T], row: Mapping[str, object]) -> T:
    values: dict[str, object] = {}
    for name, read in field_readers(cast("type[Any]", kind)).items():
        if name in _PARTS:
            found = [row[column] for column, _ in _columns_of(name)]
            values[name] = read(None if found[0] is None else found)
        # Copies written by earlier versions lack some columns.
        elif name in row:
            value = row[name]
            if isinstance(value, int) and value > _MAX_NUMBER:
                raise ValueError(f"{value} is out of range")
            values[name] = read(json.loads(cast("str", value)) if name in _JSON and value is not None else value)
    return kind(**values)


@cache
def _columns_of(name: str) -> list[tuple[str, str]]:
    prefix, kind = _PARTS[name]
    return [(prefix + each.name, each.name) for each in fields(kind)]
