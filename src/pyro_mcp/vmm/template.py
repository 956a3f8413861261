"""Templates on disk: identify them by their inputs, seal them, and verify before each use that they are unchanged.

A template that fails verification is never repaired, but removed and rebuilt.

Hashing the memory file at each use would cost more than the restore, so files are compared by size, inode, mtime and
ctime. Programs can't set a ctime, and every write updates it, including writes through a shared mapping. Sealing
detects file systems where that is not so (tmpfs); there, every use compares digests.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import durable
from pyro_mcp.host.files import NEW_FILE, closing_fd, open_plain
from pyro_mcp.model.codec import from_json
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.limits import Shape

RAM = "ram"
DEVICE_STATE = "device-state"
ROOT_DISK = "root.img"
MANIFEST = "manifest.json"

_SCHEMA = 1
_KEY_DIGITS = 32
_READ_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 256 * 1024
_PROBE_BYTES = 4096
_ZEROS = bytes(_READ_BYTES)


@dataclass(frozen=True, slots=True)
class TemplateParts:
    """Everything that a template depends on: if one part changes, it is a different template."""

    kind: VmmKind
    accelerator: Accelerator
    vmm: VmmIdentity
    shape: Shape
    #: Digest of kernel and initramfs.
    boot_digest: str
    #: The generation of the agent's protocol.
    generation: int
    #: Digest of the environment's base image; "" for a template that has none mounted.
    base_digest: str
    #: The state of the guest when it was saved, such as `fresh` or `attach`.
    flavour: str
    #: The digest of this host's processor, by `host_cpu`.
    cpu: str

    @property
    def key(self) -> str:
        """Return the template's name: a digest over all parts."""
        return _digest(json.dumps([_SCHEMA, self.to_json()], sort_keys=True).encode())[:_KEY_DIGITS]

    def to_json(self) -> dict[str, object]:
        """Return the parts as a JSON object, for the manifest and `doctor`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FileStamp:
    """The state of one file of a template when it was sealed."""

    size_bytes: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    sha256: str

    def matches(self, found: os.stat_result) -> bool:
        """Return whether the file is still the one that was sealed, unmodified."""
        return (self.size_bytes, self.inode, self.mtime_ns, self.ctime_ns) == (
            found.st_size,
            found.st_ino,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )


@dataclass(frozen=True, slots=True)
class Template:
    """A sealed template that was verified by `open_template`."""

    directory: Path
    key: str
    files: Mapping[str, FileStamp]
    #: False if the file system does not update times for writes through a mapping: each use then compares digests.
    writes_are_noted: bool

    def open(self, name: str) -> int:
        """Open one of the files for reading, verifying that it is unchanged. The caller closes it.

        Raises:
            PyroError: CORRUPT, naming the file.
        """
        stamp = self.files.get(name)
        if stamp is None:
            raise _corrupt(self.directory, f"has no {name}")
        fd = _open_regular(self.directory / name)
        try:
            if not stamp.matches(os.fstat(fd)):
                raise _corrupt(self.directory, f"is damaged: {name} was modified or replaced after sealing")
            if not self.writes_are_noted and _digest_of_data(fd) != stamp.sha256:
                raise _corrupt(self.directory, f"is damaged: {name} does not match its digest")
        except BaseException:
            os.close(fd)
            raise
        return fd


def seal_template(directory: Path, parts: TemplateParts) -> Template:
    """Durably record the state of every file of `directory`, which must not be written to afterwards.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others; INVALID if a part of the template is missing.
    """
    for name in (RAM, DEVICE_STATE):
        if not (directory / name).is_file():
            raise PyroError(ErrorCode.INVALID, f"the template in {directory} has no {name}")
    noted = _mapped_writes_are_noted(directory)
    files: dict[str, FileStamp] = {}
    for name in sorted(os.listdir(directory)):
        if name != MANIFEST:
            files[name] = _stamp(directory / name)
    document = {
        "schema": _SCHEMA,
        "key": parts.key,
        "parts": parts.to_json(),
        "writes_are_noted": noted,
        "files": {name: asdict(stamp) for name, stamp in files.items()},
    }
    durable.atomic_write(directory / MANIFEST, json.dumps(document, indent=1).encode())
    return Template(directory, parts.key, files, noted)


def open_template(directory: Path, key: str) -> Template:
    """Return the template in `directory` if it has this key and is unchanged.

    Raises:
        PyroError: NOT_FOUND if there is none; CORRUPT, with the reason, if it must be rebuilt.
    """
    template = _read_manifest(directory, key)
    for name in template.files:
        os.close(template.open(name))
    return template


def host_cpu(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Return a digest of the model and features of this host's processor."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
    found: list[str] = []
    with os_errors(f"read {cpuinfo}"), open(cpuinfo, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line == "\n" and found:
                break
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                found.append(f"{name.strip()}={' '.join(sorted(value.split()))}")
    return _digest("\n".join(found).encode())[:16]


def _read_manifest(directory: Path, key: str) -> Template:
    try:
        fd = open_plain(directory / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.lexists(directory):
            raise PyroError(ErrorCode.NOT_FOUND, f"no template at {directory}") from None
        raise _corrupt(directory, "has no manifest") from None
    except OSError as error:
        raise _corrupt(directory, f"has an unreadable manifest: {error.strerror}") from error
    with open(fd, "rb") as file:
        data = file.read(_MAX_MANIFEST_BYTES + 1)
    try:
        return _parse(directory, key, data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PyroError) as error:
        raise _corrupt(directory, f"has a damaged manifest ({error})") from error


def _parse(directory: Path, key: str, data: bytes) -> Template:
    document = cast("dict[str, object]", json.loads(data))
    if document["schema"] != _SCHEMA or document["key"] != key:
        raise ValueError("it belongs to another template")
    noted = document["writes_are_noted"]
    listed = cast("dict[str, object]", document["files"])
    files = {name: from_json(FileStamp, stamp) for name, stamp in listed.items()}
    if not {RAM, DEVICE_STATE} <= files.keys() or any("/" in name or name.startswith(".") for name in files):
        raise ValueError("it lists unexpected files")
    return Template(directory, key, files, writes_are_noted=noted is True)


def _corrupt(directory: Path, what: str) -> PyroError:
    return PyroError(
        ErrorCode.CORRUPT,
        f"the template {directory.name} {what}",
        hint="It is rebuilt at the next start.",
        details={"path": str(directory)},
    )


def _open_regular(path: Path) -> int:
    try:
        return open_plain(path)
    except OSError as error:
        raise _corrupt(path.parent, f"is damaged: {path.name} can't be opened: {error.strerror}") from error


def _stamp(path: Path) -> FileStamp:
    fd = _open_regular(path)
    with os_errors(f"seal {path}"):
        try:
            # The times of a file written through a mapping are final only once it is on the disk.
            os.fsync(fd)
            digest = _digest_of_data(fd)
            found = os.fstat(fd)
        finally:
            os.close(fd)
    return FileStamp(found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, digest)


def _mapped_writes_are_noted(directory: Path) -> bool:
    """Test whether a write through a shared mapping updates a file's times on this file system."""
    path = directory / f".write-probe-{os.getpid()}"
    with os_errors(f"test the file system of {directory}"), closing_fd(os.open(path, NEW_FILE, 0o600)) as fd:
        os.unlink(path)
        os.pwrite(fd, bytes(_PROBE_BYTES), 0)
        os.fsync(fd)
        # Far enough in the past that the clock's granularity can't hide the change.
        os.utime(fd, ns=(0, 0))
        with mmap.mmap(fd, _PROBE_BYTES) as mapped:
            # Read before writing: if the kernel does not track dirty pages, the read already maps the page writable,
            # and the write goes unnoticed.
            mapped[0] += 1
            mapped.flush()
        return os.fstat(fd).st_mtime_ns != 0


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _digest_of_data(fd: int) -> str:
    """Hash a sparse file: its size, and the offsets and contents of its data. Reading holes would take far longer."""
    import hashlib

    digest = hashlib.sha256()
    digest.update(os.fstat(fd).st_size.to_bytes(8, "little"))
    for position, data in _data(fd):
        # Whether blocks of zeros are holes depends on the file system, so they are treated as holes.
        if data != _ZEROS[: len(data)]:
            digest.update(position.to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def _data(fd: int) -> Iterator[tuple[int, bytes]]:
    size = os.fstat(fd).st_size
    position = 0
    while position < size:
        try:
            position = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            return  # only a hole follows
        # Aligned blocks, so that the layout in extents does not affect the digest.
        position -= position % _READ_BYTES
        data = os.pread(fd, _READ_BYTES, position)
        if not data:
            return
        yield position, data
        position += len(data)


@dataclass(frozen=True, slots=True)
class VmmIdentity:
    """The identity of the program that runs machines. Another build, or an upgrade, has another identity."""

    path: str
    version: str
    #: A digest over its files: binary, libraries, firmware.
    fingerprint: str
