"""Validate user-defined names and labels: printable, safe in shells and file names, and distinguishable from ids."""

from __future__ import annotations

from collections.abc import Mapping

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import SNAPSHOT_PREFIX, WORKSPACE_PREFIX
from pyro_mcp.model.workspace import BASELINE

MAX_NAME_CHARS = 63
MAX_LABELS = 64
MAX_LABEL_KEY_CHARS = 63
MAX_LABEL_VALUE_CHARS = 256

_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_REST = _FIRST | frozenset("._-")
_LABEL_REST = _REST | frozenset("/")
_SHOWN_CHARS = 80
_NAME_HINT = f"Use at most {MAX_NAME_CHARS} letters, digits, dots, dashes and underscores, the first a letter or digit."


def check_workspace_name(name: str) -> str:
    """Return `name` if it is a valid name for a workspace.

    Raises:
        PyroError: INVALID.
    """
    _check_form("a workspace's name", name)
    if name.startswith(WORKSPACE_PREFIX):
        raise PyroError(
            ErrorCode.INVALID,
            f"{name!r} can't be a workspace's name: ids begin with {WORKSPACE_PREFIX}",
            hint="Choose another name.",
        )
    return name


def check_snapshot_name(name: str) -> str:
    """Return `name` if it is a valid name for a new snapshot.

    Raises:
        PyroError: INVALID.
    """
    _check_form("a snapshot's name", name)
    if name == BASELINE or name.startswith(SNAPSHOT_PREFIX):
        raise PyroError(
            ErrorCode.INVALID,
            f"{name!r} can't be a new snapshot's name",
            hint=f"{BASELINE} is the workspace as it was created; choose another name.",
        )
    return name


def check_service_name(name: str) -> str:
    """Return `name` if it is a valid name for a service.

    Raises:
        PyroError: INVALID.
    """
    _check_form("a service's name", name)
    return name


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels, sorted by key, if they are valid.

    Raises:
        PyroError: INVALID.
    """
    if len(labels) > MAX_LABELS:
        raise PyroError(ErrorCode.INVALID, f"{len(labels)} labels are too many", hint=f"Give at most {MAX_LABELS}.")
    for key, value in labels.items():
        if not 0 < len(key) <= MAX_LABEL_KEY_CHARS or key[0] not in _FIRST or not _LABEL_REST.issuperset(key):
            raise PyroError(
                ErrorCode.INVALID,
                f"{key[:_SHOWN_CHARS]!r} can't be a label's key",
                hint=f"Use at most {MAX_LABEL_KEY_CHARS} letters, digits, dots, dashes, slashes and underscores, the"
                " first a letter or digit.",
            )
        if len(value) > MAX_LABEL_VALUE_CHARS or not value.isprintable():
            raise PyroError(
                ErrorCode.INVALID,
                f"the value of the label {key} is too long or can't be printed: {value[:_SHOWN_CHARS]!r}",
                hint=f"Use at most {MAX_LABEL_VALUE_CHARS} printable characters.",
            )
    return dict(sorted(labels.items()))


def _check_form(what: str, name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS or name[0] not in _FIRST or not _REST.issuperset(name):
        raise PyroError(ErrorCode.INVALID, f"{name[:_SHOWN_CHARS]!r} can't be {what}", hint=_NAME_HINT)
