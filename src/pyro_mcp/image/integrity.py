"""Verify artifacts by digest at each use, made cheap by identity stamps.

A full SHA-256 is computed only if the file's stamp (size, inode, mtime and ctime) differs from the one recorded after
the last full verification. Programs can't set the ctime, so every write is detected.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.files import closing_fd, open_plain
from pyro_mcp.host.json_cache import read_cache, write_cache
from pyro_mcp.host.waiting import wait_until

# How much of a digest names a directory.
SHORT = 12
STAMPS = "verified.json"
_READ_BYTES = 1024 * 1024
_CLOCK_REALTIME_COARSE = 5  # linux/time.h
# More than two ticks of the slowest kernel clock.
_SETTLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Artifact:
    """The expected SHA-256 of a file in hex, and its size in bytes (None: unknown)."""

    sha256: str
    size: int | None = None


Stamp = tuple[str, int, int, int, int]


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def measure(path: Path) -> Artifact:
    """Read the whole file and return its digest and size.

    Raises:
        PyroError: NOT_FOUND, PERMISSION and others.
    """
    with os_errors(f"read {path}"), closing_fd(open_plain(path)) as fd:
        return _measure(fd)


def _measure(fd: int) -> Artifact:
    import hashlib

    digest, size = hashlib.sha256(), 0
    while data := os.read(fd, _READ_BYTES):
        digest.update(data)
        size += len(data)
    return Artifact(digest.hexdigest(), size)


def verify(directory: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Check that each named file of `directory` exists and matches its digest.

    Raises:
        PyroError: CORRUPT, with the file and the reason.
    """
    known = _read_stamps(directory)
    proven: dict[str, Stamp] = {}
    for name, artifact in artifacts.items():
        stamp = _verify_one(directory / name, artifact, known.get(name))
        if stamp is not None:
            proven[name] = stamp
    if any(known.get(name) != stamp for name, stamp in proven.items()):
        write_cache(directory / STAMPS, known | proven)


def seal(directory: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Record the stamps of files in `directory` that this process has just written and measured."""
    stamps: dict[str, Stamp] = {}

    def settled() -> bool:
        for name in artifacts.keys() - stamps.keys():
            now = _change_clock_ns()
            found = os.lstat(directory / name)
            if found.st_ctime_ns < now:
                stamps[name] = _stamp(found, artifacts[name].sha256)
        return stamps.keys() == artifacts.keys()

    try:
        wait_until(settled, timeout_s=_SETTLE_S, what="the clock to tick", interval_s=0.004)
    except PyroError as error:
        # Without its stamp, a file is only read once more.
        if error.code is not ErrorCode.TIMEOUT:
            raise
    write_cache(directory / STAMPS, stamps)


def _verify_one(path: Path, artifact: Artifact, known: Stamp | None) -> Stamp | None:
    try:
        found = os.lstat(path)
        if known is not None and stat.S_ISREG(found.st_mode) and known == _stamp(found, artifact.sha256):
            return known
        fd = open_plain(path)
    except FileNotFoundError:
        raise _corrupt(path, "is missing") from None
    except OSError as error:
        raise _corrupt(path, f"can't be opened: {error.strerror}") from error
    try:
        now = _change_clock_ns()
        before = os.fstat(fd)
        if artifact.size is not None and before.st_size != artifact.size:
            raise _corrupt(path, f"has {before.st_size} bytes instead of {artifact.size}")
        if _measure(fd).sha256 != artifact.sha256:
            raise _corrupt(path, "does not match its digest")
        after = os.fstat(fd)
    except OSError as error:
        raise _corrupt(path, f"can't be read: {error.strerror}") from error
    finally:
        os.close(fd)
    stamp = _stamp(after, artifact.sha256)
    return stamp if stamp == _stamp(before, artifact.sha256) and before.st_ctime_ns < now else None


def _corrupt(path: Path, what: str) -> PyroError:
    return PyroError(ErrorCode.CORRUPT, f"{path.name} {what}", details={"path": str(path)})


def _stamp(found: os.stat_result, sha256: str) -> Stamp:
    return (sha256, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def _change_clock_ns() -> int:
    """Read the clock that the kernel uses for ctimes, which has ticks of up to 10 ms.

    A second write within the same tick does not change the ctime. A file is therefore stamped only if its ctime is
    before this clock's value just before the file was examined, so that any later write is detectable.
    """
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def _read_stamps(directory: Path) -> dict[str, Stamp]:
    found = cast("dict[str, list[object]]", read_cache(directory / STAMPS))
    return {name: cast("Stamp", tuple(stamp)) for name, stamp in found.items() if type(stamp) is list}
