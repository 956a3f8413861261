"""Read PEM files of certificate authorities, and check that they hold nothing else.

A guest gets only certificates that OpenSSL can parse: one broken certificate in a trust store makes some clients ignore
all of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.files import closing_fd

#: The bounds of all files together. A distribution's whole bundle has 150 certificates in 220 KiB.
MAX_CERTIFICATES = 512
MAX_BYTES = 640 * 1024
_MAX_FILE_BYTES = 1024 * 1024
_LINE_CHARS = 64
_SHOWN_DIGITS = 16
_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"
_LABEL = "CERTIFICATE"
_FORM = (
    "Give a PEM file with certificates only: each between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----."
)
_CONVERT = "If it is in DER form, convert it: openssl x509 -inform der -in FILE -out FILE.pem"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate: its subject, SHA-256 fingerprint in hexadecimal digits, and PEM text."""

    subject: str
    fingerprint: str
    pem: str

    @property
    def name(self) -> str:
        """Return a file name for it, which depends on its content alone."""
        return f"pyro-{self.fingerprint[:_SHOWN_DIGITS]}"

    @property
    def title(self) -> str:
        """Return its subject and the beginning of its fingerprint."""
        return f"{self.subject} (sha256 {self.fingerprint[:_SHOWN_DIGITS]})"


def read_certificates(paths: Iterable[str | os.PathLike[str]]) -> tuple[Certificate, ...]:
    """Return the certificates of PEM files, each once.

    Raises:
        PyroError: INVALID, naming the file, if it holds anything else than certificates, or there are too many;
            NOT_FOUND, PERMISSION.
    """
    found: dict[str, Certificate] = {}
    for given in paths:
        path = Path(given).expanduser()
        for der in _blocks(path, _text(path)):
            certificate = _certificate(path, der)
            found.setdefault(certificate.fingerprint, certificate)
    size = sum(len(each.pem) for each in found.values())
    if len(found) > MAX_CERTIFICATES or size > MAX_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"{len(found)} certificates with {size} bytes are too many",
            hint=f"Give at most {MAX_CERTIFICATES} certificates with {MAX_BYTES // 1024} KiB: those that the"
            " environment does not have.",
        )
    return tuple(found.values())


def parse_certificates(text: str) -> tuple[bytes, ...]:
    """Return the certificates in a text, in DER form, leaving out everything that is not one."""
    found: list[bytes] = []
    lines: list[str] | None = None
    for line in text.splitlines():
        if line.startswith(_BEGIN):
            lines = [] if line.strip() == f"{_BEGIN}{_LABEL}{_DASHES}" else None
        elif line.startswith(_END) and lines is not None:
            with suppress(binascii.Error):
                found.append(base64.b64decode("".join(lines), validate=True))
            lines = None
        elif lines is not None:
            lines.append(line.strip())
    return tuple(found)


def _text(path: Path) -> str:
    what = f"read the certificates in {path}"
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    with os_errors(what), closing_fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise PyroError(ErrorCode.INVALID, f"could not {what}: it is not a regular file", hint=_FORM)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise PyroError(ErrorCode.INVALID, f"{path} has more than {_MAX_FILE_BYTES // 1024} KiB", hint=_FORM)
    # Comments between certificates may be in any encoding.
    return data.decode("latin-1")


def _blocks(path: Path, text: str) -> list[bytes]:
    """Return the content of each PEM block, all of which must be certificates."""
    found: list[bytes] = []
    lines: list[str] | None = None
    for number, each in enumerate(text.splitlines(), 1):
        line = each.strip()
        if line.startswith(_BEGIN):
            _check_label(path, line.removeprefix(_BEGIN).removesuffix(_DASHES))
            if lines is not None:
                raise _damaged(path, number)
            lines = []
        elif line.startswith(_END):
            if lines is None:
                raise _damaged(path, number)
            try:
                found.append(base64.b64decode("".join(lines), validate=True))
            except binascii.Error:
                raise _damaged(path, number) from None
            lines = None
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        raise PyroError(ErrorCode.INVALID, f"{path} ends within a certificate", hint=_FORM)
    if not found:
        raise PyroError(ErrorCode.INVALID, f"{path} has no PEM certificate", hint=f"{_FORM} {_CONVERT}")
    return found


def _check_label(path: Path, label: str) -> None:
    if label == _LABEL:
        return
    if "PRIVATE KEY" in label:
        raise PyroError(
            ErrorCode.INVALID,
            f"{path} has a private key, which no guest may get",
            hint=f"Copy the certificate alone into another file: openssl x509 -in {path} -out FILE.pem",
        )
    raise PyroError(ErrorCode.INVALID, f"{path} has a {label[:40]!r}, which is not a certificate", hint=_FORM)


def _damaged(path: Path, line: int) -> PyroError:
    return PyroError(ErrorCode.INVALID, f"{path} has a damaged certificate before line {line + 1}", hint=_FORM)


def _certificate(path: Path, der: bytes) -> Certificate:
    fingerprint = hashlib.sha256(der).hexdigest()
    text = base64.b64encode(der).decode("ascii")
    lines = (text[at : at + _LINE_CHARS] for at in range(0, len(text), _LINE_CHARS))
    pem = "\n".join((f"{_BEGIN}{_LABEL}{_DASHES}", *lines, f"{_END}{_LABEL}{_DASHES}", ""))
    return Certificate(_subject(path, der), fingerprint, pem)


def _subject(path: Path, der: bytes) -> str:
    """Return the subject of a certificate, which is checked on the way."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=der)
    except (ssl.SSLError, ValueError):
        raise PyroError(ErrorCode.INVALID, f"{path} has a certificate that OpenSSL can't parse", hint=_FORM) from None
    # It lists those of authorities only; a server's own certificate can be trusted, too.
    listed = context.get_ca_certs()
    if not listed:
        return "a certificate"
    pairs = cast("tuple[tuple[tuple[str, str], ...], ...]", cast("Mapping[str, Any]", listed[0]).get("subject", ()))
    named = {name: value for part in pairs for name, value in part}
    found = next(
        (named[key] for key in ("commonName", "organizationalUnitName", "organizationName") if key in named), ""
    )
    return found or "a certificate"
