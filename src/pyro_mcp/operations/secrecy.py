"""Secrets in requests, results and errors of operations.

No result or error of an operation on a workspace shows the value of one of its secrets, whatever its origin: a file
that a command wrote, a patch, a name in the guest. Results of workspaces without secrets are not scanned.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.operation import Result, engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyro_mcp.operations.operation import Call
    from pyro_mcp.workspace.secrets.redactor import Redactor
    from pyro_mcp.workspace.secrets.values import Secret

R = TypeVar("R")

_FORM = "Give objects with a name and a value, or with a name and a file_path."
# In addition to fields marked as the guest's: these may contain values too, from the user or quoted from the guest.
_QUOTING = frozenset({"command", "cwd", "error", "last_error", "reason"})


def secrets_given(records: Iterable[dict[str, str]]) -> tuple[Secret, ...]:
    """Return the secrets of a request, reading values from files.

    Raises:
        PyroError: INVALID, NOT_FOUND, PERMISSION, never quoting a value.
    """
    from pathlib import Path

    from pyro_mcp.model.workspace import SecretKind
    from pyro_mcp.workspace.secrets.values import Secret, secret_from_file

    found: list[Secret] = []
    for number, record in enumerate(records, 1):
        match record:
            case {"name": name, "value": value, **rest} if not rest:
                found.append(Secret(name, SecretKind.LITERAL, value))
            case {"name": name, "file_path": path, **rest} if not rest:
                found.append(secret_from_file(name, Path(path)))
            case _:
                raise PyroError(ErrorCode.INVALID, f"the secret number {number} is malformed", hint=_FORM)
    return tuple(found)


def without_secrets(result: R, call: Call) -> R:
    """Return a result with the values of its workspace's secrets redacted.

    Raises:
        PyroError: CORRUPT if the secrets can't be read.
    """
    workspace_id = getattr(result, "workspace_id", None)
    redactor = _redactor(str(workspace_id), call) if workspace_id else None
    return result if redactor is None else cast("R", _redacted(result, redactor))


def error_without_secrets(error: PyroError, request: object, call: Call) -> PyroError:
    """Return an error with the secrets of the workspace in the request, if any, redacted."""
    handle = getattr(request, "workspace_id", None)
    if not handle or not os.path.isdir(call.paths.workspaces):
        return error
    redactor = None
    with suppress(PyroError):
        redactor = _redactor(_id_of(str(handle), call), call)
    return error if redactor is None else redactor.error(error)


def _id_of(handle: str, call: Call) -> str:
    from pyro_mcp.workspace.lifecycle.lookup import find_workspace

    with engine(call) as using:
        return find_workspace(using, handle).id


def _redactor(workspace_id: str, call: Call) -> Redactor | None:
    if workspace_id in call.redactors:
        return call.redactors[workspace_id]
    from pyro_mcp.state.filenames import WorkspaceFiles

    if not os.path.lexists(WorkspaceFiles(call.paths, workspace_id).secrets):
        return None
    from pyro_mcp.workspace.lifecycle.lookup import find_workspace
    from pyro_mcp.workspace.secrets.keeping import redactor_for

    with engine(call) as using:
        return redactor_for(using.paths, find_workspace(using, workspace_id))


def _redacted(value: object, redactor: Redactor, *, is_quoted: bool = False) -> object:
    if isinstance(value, str):
        return redactor.text(value) if is_quoted else value
    if isinstance(value, list):
        return [_redacted(each, redactor, is_quoted=is_quoted) for each in cast("list[object]", value)]
    if isinstance(value, Result):
        for each in fields(cast("Any", value)):
            is_marked = bool(each.metadata.get("guest")) or each.name in _QUOTING
            value[each.name] = _redacted(value[each.name], redactor, is_quoted=is_marked)
    return value
