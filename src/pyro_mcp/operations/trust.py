"""Files of this host with certificate authorities, as operations and servers are given them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.host.certificates import Certificate


def certificates_given(paths: Iterable[str] | None) -> tuple[Certificate, ...]:
    """Return the certificates in files.

    Raises:
        PyroError: INVALID, NOT_FOUND, PERMISSION, naming the file.
    """
    if not paths:
        return ()
    from pyro_mcp.host.certificates import read_certificates

    return read_certificates(paths)


def absolute_ca_files(paths: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return the absolute paths of files, for a process that may be in another directory."""
    return tuple(os.path.abspath(os.path.expanduser(path)) for path in paths)
