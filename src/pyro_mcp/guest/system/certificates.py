"""Add certificates given by the host to the environment's trust store.

They are added to the bundle of trusted certificates, and to the directory from which the environment's own tool makes
that bundle, so that they are still there after it ran. What is there already is left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress

# Debian, Alpine and Arch; Fedora; SUSE; others. Some of them are links to others.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Directories from which the tools of distributions make the bundles: the first for Debian and Alpine.
_DEBIAN_ANCHORS = "/usr/local/share/ca-certificates"
_ANCHORS = ("/etc/pki/ca-trust/source/anchors", "/etc/pki/trust/anchors", "/etc/ca-certificates/trust-source/anchors")
# Where Debian's tool puts a link to each of them, from which its Java makes a store of its own.
_LINKS = "/etc/ssl/certs"
# The given certificates alone, for clients that add them to those they are built with.
_GIVEN = "/etc/ssl/pyro-certificates.pem"
_BLANKS = b" \t\r\n"
_MAX_BUNDLE_BYTES = 16 * 1024 * 1024


def install(root: str, certificates: Mapping[str, str]) -> None:
    """Add certificates, given as file names to PEM texts, to the trust store of the environment at `root`.

    Raises:
        OSError: if one of the files can't be written.
    """
    given = {name: text.encode("ascii") for name, text in certificates.items()}
    with _inside(root):
        # In this order, so that what a crash interrupts is completed by the next start.
        for directory in _anchors():
            os.makedirs(directory, 0o755, exist_ok=True)
            for name, text in given.items():
                _put(f"{directory}/{name}.crt", text)
        os.makedirs(_LINKS, 0o755, exist_ok=True)
        for name in given:
            with suppress(FileExistsError):
                os.symlink(f"{_DEBIAN_ANCHORS}/{name}.crt", f"{_LINKS}/{name}.pem")
        _put(_GIVEN, b"".join(given.values()))
        for bundle in dict.fromkeys(os.path.realpath(path) for path in _bundles()):
            _extend(bundle, given)


def variables(root: str) -> dict[bytes, bytes]:
    """Return variables for clients that would use certificates of their own instead of the trust store."""
    with _inside(root):
        bundle = os.fsencode(_bundles()[0])
    return {
        # OpenSSL that was built elsewhere, httpx, uv.
        b"SSL_CERT_FILE": bundle,
        b"REQUESTS_CA_BUNDLE": bundle,
        b"PIP_CERT": bundle,
        b"CARGO_HTTP_CAINFO": bundle,
        b"NODE_EXTRA_CA_CERTS": _GIVEN.encode("ascii"),
    }


@contextmanager
def _inside(root: str) -> Generator[None]:
    """Make `root` this process's root for the block: the workload's links can't lead out of it."""
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chroot(root)
        os.chdir("/")
        yield
    finally:
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)


def _bundles() -> list[str]:
    """Return the paths of the bundles that exist; without any, of the one to create."""
    return [path for path in _BUNDLES if os.path.isfile(path)] or [_BUNDLES[0]]


def _anchors() -> list[str]:
    """Return the directories for further certificates. A tool installed later looks for them in the first."""
    return [_DEBIAN_ANCHORS, *(path for path in _ANCHORS if os.path.isdir(path))]


def _extend(bundle: str, given: Mapping[str, bytes]) -> None:
    """Append the certificates that a bundle lacks."""
    found = _read(bundle)
    known = found.translate(None, _BLANKS)
    added = b"".join(text for text in given.values() if text.translate(None, _BLANKS) not in known)
    if added:
        _replace(bundle, found + (b"\n" if found and not found.endswith(b"\n") else b"") + added)


def _put(path: str, content: bytes) -> None:
    """Write a file, unless it has this content."""
    if _read(path) != content:
        _replace(os.path.realpath(path), content)


def _read(path: str) -> bytes:
    """Return the content of a regular file; of anything else, nothing."""
    try:
        # The workload may have put a fifo there, whose other end would be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(fd, "rb") as file:
        return file.read(_MAX_BUNDLE_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


def _replace(path: str, content: bytes) -> None:
    """Replace a file. A crash leaves the old one: a client refuses a bundle that ends within a certificate."""
    staged = f"{path}.pyro-new"
    with suppress(FileNotFoundError):
        os.unlink(staged)
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(fd, 0o644)
        os.fsync(fd)
    os.rename(staged, path)
