"""The ids of VMs, workspaces, shells and snapshots: unguessable, and safe as file names."""

from __future__ import annotations

import os

from pyro_mcp.errors import ErrorCode, PyroError

VM_PREFIX = "vm_"
WORKSPACE_PREFIX = "ws_"
SNAPSHOT_PREFIX = "snap_"
SHELL_PREFIX = "sh_"
# 32 characters, without l, o, 0 and 1, which are easily confused: 20 of them have 100 random bits.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ALPHABET_SET = frozenset(_ALPHABET)
_RANDOM_LENGTH = 20
VM_ID_PATTERN = f"^{VM_PREFIX}[{_ALPHABET}]{{{_RANDOM_LENGTH}}}$"
SHELL_ID_PATTERN = f"^{SHELL_PREFIX}[{_ALPHABET}]{{{_RANDOM_LENGTH}}}$"


def new_vm_id() -> str:
    """Return a new id for a VM."""
    return VM_PREFIX + _random_text()


def is_vm_id(text: str) -> bool:
    """Return whether `text` has the form of a VM id, and is therefore safe as a file name."""
    return _is_id(text, VM_PREFIX)


def parse_vm_id(text: str) -> str:
    """Return `text` if it has the form of a VM id.

    Raises:
        PyroError: INVALID, quoting only the beginning of the text.
    """
    form = f"Give the id that `pyro vm create` returned: {VM_PREFIX} and {_RANDOM_LENGTH} letters and digits."
    return _parsed(text, VM_PREFIX, "a VM's id", form)


def new_workspace_id() -> str:
    """Return a new id for a workspace."""
    return WORKSPACE_PREFIX + _random_text()


def is_workspace_id(text: str) -> bool:
    """Return whether `text` has the form of a workspace id, and is therefore safe as a file name."""
    return _is_id(text, WORKSPACE_PREFIX)


def parse_workspace_id(text: str) -> str:
    """Return `text` if it has the form of a workspace id.

    Raises:
        PyroError: INVALID, quoting only the beginning of the text.
    """
    form = f"A workspace's id is {WORKSPACE_PREFIX} and {_RANDOM_LENGTH} letters and digits."
    return _parsed(text, WORKSPACE_PREFIX, "a workspace's id", form)


def new_snapshot_id() -> str:
    """Return a new id for a snapshot."""
    return SNAPSHOT_PREFIX + _random_text()


def is_snapshot_id(text: str) -> bool:
    """Return whether `text` has the form of a snapshot id, and is therefore safe as a file name."""
    return _is_id(text, SNAPSHOT_PREFIX)


def new_shell_id() -> str:
    """Return a new id for a shell."""
    return SHELL_PREFIX + _random_text()


def _parsed(text: str, prefix: str, what: str, form: str) -> str:
    if not _is_id(text, prefix):
        raise PyroError(ErrorCode.INVALID, f"{text[:40]!r} is not {what}", hint=form)
    return text


def _is_id(text: str, prefix: str) -> bool:
    random = text[len(prefix) :]
    return text.startswith(prefix) and len(random) == _RANDOM_LENGTH and _ALPHABET_SET.issuperset(random)


def _random_text() -> str:
    return "".join(_ALPHABET[byte & 31] for byte in os.urandom(_RANDOM_LENGTH))
