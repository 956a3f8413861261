"""Templates on the disk: what one depends on, how it is sealed, and how it is proven unchanged before each use.

A template that fails here is never repaired, but removed and rebuilt.

A whole digest of the memory file at each use would cost more than the restore, so a file is compared by its stamp:
size, inode, modification and change time. A change time can't be set by a program, and every write moves it, through
a shared mapping too; where a file system does not do that (tmpfs), sealing finds out and every use compares digests.
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
    """Everything a template depends on: change one, and it is another template."""

    kind: VmmKind
    accelerator: Accelerator
    vmm: VmmIdentity
    shape: Shape
    #: Digest of kernel and initramfs.
    boot_digest: str
    #: Generation of the agent's protocol.
    generation: int
    #: Digest of the environment's base image; "" for a template that has none mounted.
    base_digest: str
    #: The state of the guest when it was saved, such as `fresh` or `attach`.
    flavour: str
    #: Of this host's processor, by `host_cpu`.
    cpu: str

    @property
    def key(self) -> str:
        """Return the template's name: a digest over all parts."""
        return _digest(json.dumps([_SCHEMA, self.to_json()], sort_keys=True).encode())[:_KEY_DIGITS]

    def to_json(self) -> dict[str, object]:
        """Return the parts as a JSON object, for people and `doctor`."""
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
        """Return whether the file is still the one that was sealed, unwritten."""
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
    #: False where the file system does not note writes through a mapping: then each use compares digests.
    writes_are_noted: bool

    def open(self, name: str) -> int:
        """Open one of the files for reading and check that it is still what was sealed. The caller closes it.

        Raises:
            PyroError: CORRUPT, naming the file.
        """
        stamp = self.files.get(name)
        if stamp is None:
            raise _corrupt(self.directory, f"has no {name}")
        fd = _open_regular(self.directory / name)
        try:
            if not stamp.matches(os.fstat(fd)):
                raise _corrupt(self.directory, f"{name} was written to or replaced since it was sealed")
            if not self.writes_are_noted and _digest_of_data(fd) != stamp.sha256:
                raise _corrupt(self.directory, f"{name} does not match its digest")
        except BaseException:
            os.close(fd)
            raise
        return fd


def seal_template(directory: Path, parts: TemplateParts) -> Template:
    """Record what every file of `directory` is now, durably. Nothing may write to them any more.

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
    """Return the template in `directory` if it is the one that `key` names and nobody wrote to it.

    Raises:
        PyroError: NOT_FOUND if there is none; CORRUPT if it must be rebuilt, and why.
    """
    template = _read_manifest(directory, key)
    for name in template.files:
        os.close(template.open(name))
    return template


def host_cpu(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Return a digest of what this host's processor is and can do."""
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
            raise PyroError(ErrorCode.NOT_FOUND, f"there is no template at {directory}") from None
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
        raise ValueError("it does not name the right files")
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
        raise _corrupt(path.parent, f"{path.name} can't be opened: {error.strerror}") from error


def _stamp(path: Path) -> FileStamp:
    fd = _open_regular(path)
    with os_errors(f"seal {path}"):
        try:
            # A guest's memory written through a mapping has its times final only once it is on the disk.
            os.fsync(fd)
            digest = _digest_of_data(fd)
            found = os.fstat(fd)
        finally:
            os.close(fd)
    return FileStamp(found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, digest)


def _mapped_writes_are_noted(directory: Path) -> bool:
    """Try out whether a write through a shared mapping moves a file's change time on this file system."""
    path = directory / f".write-probe-{os.getpid()}"
    with os_errors(f"try the file system of {directory}"), closing_fd(os.open(path, NEW_FILE, 0o600)) as fd:
        os.unlink(path)
        os.pwrite(fd, bytes(_PROBE_BYTES), 0)
        os.fsync(fd)
        # Set back far enough that no clock granularity hides the change.
        os.utime(fd, ns=(0, 0))
        with mmap.mmap(fd, _PROBE_BYTES) as mapped:
            # Read first: where the kernel does not track dirty pages, that maps the page writable at once, and
            # the write is seen by nobody.
            mapped[0] += 1
            mapped.flush()
        return os.fstat(fd).st_mtime_ns != 0


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _digest_of_data(fd: int) -> str:
    """Digest a sparse file: its size, and where its data is and what. Reading the holes would take far longer."""
    import hashlib

    digest = hashlib.sha256()
    digest.update(os.fstat(fd).st_size.to_bytes(8, "little"))
    for position, data in _data(fd):
        # Blocks of zeros may or may not be holes, depending on the file system: they count as holes.
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
        # Blocks on fixed boundaries, so that how the data lies in extents does not change the digest.
        position -= position % _READ_BYTES
        data = os.pread(fd, _READ_BYTES, position)
        if not data:
            return
        yield position, data
        position += len(data)


@dataclass(frozen=True, slots=True)
class VmmIdentity:
    """The very program that runs machines: another build, or the same one upgraded, is another identity."""

    path: str
    version: str
    #: A digest over what its files are: binary, libraries, firmware.
    fingerprint: str
