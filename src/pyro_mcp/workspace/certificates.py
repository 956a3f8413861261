"""The certificate authorities that a VM or workspace was given, in a file of its directory, for every start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.host.certificates import Certificate

_FILE_MODE = 0o600


def require_guest(certificates: Sequence[Certificate], *, is_guest: bool) -> None:
    """Check that there is a guest to give certificates to.

    Raises:
        PyroError: UNSUPPORTED.
    """
    if certificates and not is_guest:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            "--ca-file needs a guest, and none can be booted here",
            hint="Commands on the host use the host's own trust store. `pyro doctor` says what a guest needs.",
        )


def keep_certificates(path: Path, certificates: Sequence[Certificate]) -> None:
    """Write certificates to a file; without certificates, write nothing.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    if certificates:
        atomic_write(path, "".join(each.pem for each in certificates).encode("ascii"), _FILE_MODE)


def kept_certificates(path: Path, owner: str, *, expected: bool) -> dict[str, str]:
    """Return the certificates of `owner` for its guest, as file names to PEM texts.

    Raises:
        PyroError: CORRUPT if they are `expected` and missing, or damaged; PERMISSION and others.
    """
    if not expected and not path.exists():
        return {}
    from pyro_mcp.host.certificates import read_certificates

    try:
        return for_guest(read_certificates([path]))
    except PyroError as error:
        if error.code not in {ErrorCode.INVALID, ErrorCode.NOT_FOUND}:
            raise
        raise PyroError(
            ErrorCode.CORRUPT,
            f"the certificates of {owner} are missing or damaged: {error.message}",
            hint=f"Write them to {path} again, as one PEM file.",
        ) from error


def for_guest(certificates: Sequence[Certificate]) -> dict[str, str]:
    """Return certificates as a guest gets them: file names to PEM texts."""
    return {each.name: each.pem for each in certificates}
