"""The bounds of a secret's name and value, and reading a value from a file.

No error quotes a value, nor a name before it has been validated: the two may have been swapped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.files import closing_fd
from pyro_mcp.model.workspace import SecretKind, SecretSource

MAX_SECRETS = 64
MAX_NAME_CHARS = 64
MIN_VALUE_BYTES = 4
MAX_VALUE_BYTES = 64 * 1024

_NAME_HINT = f"Use at most {MAX_NAME_CHARS} letters, digits and underscores, not beginning with a digit."


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret with its value, which its `repr` omits."""

    name: str
    kind: SecretKind
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check that the value can be stored, and found in output.

        Raises:
            PyroError: INVALID, without quoting the value.
        """
        check_name(self.name)
        _check_value(self.name, self.value)

    @property
    def source(self) -> SecretSource:
        """Return the part that may be shown."""
        return SecretSource(self.name, self.kind, redacted=can_be_redacted(self.value.encode()))


def secret_from_file(name: str, path: Path) -> Secret:
    """Read a secret's value from a file of the host, including a trailing newline.

    Raises:
        PyroError: INVALID if it is not a regular file or its content can't be a value; NOT_FOUND, PERMISSION.
    """
    check_name(name)
    what = f"read the secret {name} from {path}"
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    with os_errors(what), closing_fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as fd:
        data = _content(fd)
    if data is None:
        raise PyroError(ErrorCode.INVALID, f"could not {what}: it is not a regular file")
    try:
        value = data.decode()
    except UnicodeDecodeError:
        _check_length(name, len(data))
        raise PyroError(
            ErrorCode.INVALID,
            f"the secret {name}, in {path}, is not UTF-8 text",
            hint="Encode it, with base64 for example.",
        ) from None
    return Secret(name, SecretKind.FILE, value)


def _content(fd: int) -> bytes | None:
    """Return a regular file's content, up to just over the limit; None for anything else."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    data = b""
    while len(data) <= MAX_VALUE_BYTES and (more := os.read(fd, MAX_VALUE_BYTES + 1 - len(data))):
        data += more
    return data


def check_secrets(secrets: Iterable[Secret]) -> tuple[Secret, ...]:
    """Check the secrets of a workspace together.

    Raises:
        PyroError: INVALID if there are too many, or two have the same name.
    """
    checked = tuple(secrets)
    if len(checked) > MAX_SECRETS:
        raise PyroError(ErrorCode.INVALID, f"{len(checked)} secrets are too many", hint=f"Give at most {MAX_SECRETS}.")
    names = [each.name for each in checked]
    for name in names:
        if names.count(name) > 1:
            raise PyroError(
                ErrorCode.INVALID, f"there are two secrets with the name {name}", hint="Give each a different name."
            )
    return checked


def check_name(name: str) -> None:
    """Check that a secret can have this name.

    Raises:
        PyroError: INVALID, without quoting the name.
    """
    if not (0 < len(name) <= MAX_NAME_CHARS and name.isascii() and name.isidentifier()):
        raise PyroError(ErrorCode.INVALID, "a secret has an invalid name", hint=_NAME_HINT)


def _check_value(name: str, value: str) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise PyroError(
            ErrorCode.INVALID,
            f"the value of the secret {name} is not UTF-8 text",
            hint="Encode it, with base64 for example.",
        ) from None
    _check_length(name, len(data))


def can_be_redacted(value: bytes) -> bool:
    """Return whether a value is long enough to be distinguished from other output. Blanks do not count."""
    return len(value.translate(None, b" \r\n")) >= MIN_VALUE_BYTES


def _check_length(name: str, length: int) -> None:
    if length > MAX_VALUE_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"the value of the secret {name} is too long",
            hint=f"It may have at most {MAX_VALUE_BYTES} bytes.",
        )
