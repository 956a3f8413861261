"""Find the certificate authorities that this host trusts and its distribution does not ship."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.host.certificates import parse_certificates

if TYPE_CHECKING:
    from collections.abc import Callable

#: Directories for the administrator's own certificates: Debian and Alpine, Fedora, SUSE, Arch.
_LOCAL = (
    "usr/local/share/ca-certificates",
    "etc/pki/ca-trust/source/anchors",
    "etc/pki/trust/anchors",
    "etc/ca-certificates/trust-source/anchors",
)
_SHIPPED = "usr/share/ca-certificates"
_BUNDLES = ("etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem")
_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_SUFFIXES = frozenset({".crt", ".pem", ".cer"})
_MAX_FILES = 1000
_MAX_FILE_BYTES = 4 * 1024 * 1024


def extra_roots(variables: Mapping[str, str] | None = None, top: Path = Path("/")) -> dict[Path, str]:
    """Return the files with further authorities, and where each was found, in words.

    A file is left out if those before it have all of its certificates.
    """
    known = _certificates(_files(top / _SHIPPED))
    found: dict[Path, str] = {}

    def note(path: Path, where: str) -> None:
        added = _certificates([path]) - known
        if added:
            known.update(added)
            found[path] = where

    for name in _LOCAL:
        for path in _files(top / name):
            note(path, f"in {path.parent}")
    _note_bundle(top, note, knows_shipped=bool(known))
    given = os.environ if variables is None else variables
    for name in _VARIABLES:
        path = Path(given.get(name) or top / "nowhere")
        if path.is_file():
            note(path, f"named by {name}")
    return found


def remedy(paths: Iterable[Path]) -> str:
    """Return the options that give these files to a guest."""
    return " ".join(f"--ca-file {shlex.quote(str(path))}" for path in paths)


def _note_bundle(top: Path, note: Callable[[Path, str], None], *, knows_shipped: bool) -> None:
    for name in _BUNDLES:
        bundle = top / name
        if bundle.is_file():
            if knows_shipped:
                note(bundle, "in the system's bundle")
            return


def _files(directory: Path) -> list[Path]:
    found = [Path(place) / name for place, _, names in os.walk(directory) for name in names]
    return sorted(path for path in found[:_MAX_FILES] if path.suffix in _SUFFIXES)


def _certificates(paths: Iterable[Path]) -> set[bytes]:
    found: set[bytes] = set()
    for path in paths:
        with suppress(OSError), open(path, "rb") as file:
            found.update(parse_certificates(file.read(_MAX_FILE_BYTES).decode("latin-1")))
    return found
