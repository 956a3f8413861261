"""The QEMU on this host: its path, version, identity, and the files that it needs.

The results of running it are cached, and valid as long as none of these files changes.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host import process, programs
from pyro_mcp.host.json_cache import read_cache, write_cache
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.vmm.template import VmmIdentity

PROGRAM = "qemu-system-x86_64"
# The first with `-netdev stream`; also the one in Debian 12, which still gets security updates there.
MINIMUM_VERSION = (7, 2, 0)
CACHE_FILE = "qemu.json"

_SCHEMA = 3
_ASK_TIMEOUT_S = 20.0
_FIRMWARE = ("qboot.rom", "bios-microvm.bin")
_FIRMWARE_DIRECTORIES = ("/usr/share/qemu", "/usr/share/qemu-kvm", "/usr/share/seabios", "/usr/local/share/qemu")
# Compiled only where QEMU is asked: a start reads what was found out the last time.
_VERSION = r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?"
# Debian's QEMU comes with fifty libraries and 12,000 symbols, all bound before main(), each looked for in one library
# after the other. Half of them are in these two: searched first, they make the start 3 ms (of 17) faster.
_SEARCHED_FIRST = ("libc.so.6", "libcrypto.so.3")
_LIBRARY = r"(?m)^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$"

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class QemuBinary:
    """A QEMU that was found, asked for its version, and whose libraries are known."""

    path: str
    version: str
    firmware: str
    #: The dynamic loader, by the name that is written into the binary, and every shared library.
    libraries: tuple[str, ...]
    #: The directories that hold the libraries, and links by which they are also called (name, target).
    directories: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    #: Libraries to be searched for symbols before the others, because most symbols are found there.
    preload: tuple[str, ...]
    #: Size, inode and modification time of the binary, the firmware and each library. Not the change time: anybody who
    #: makes a hard link to a library moves it.
    stamps: tuple[Stamp, ...]

    @property
    def identity(self) -> VmmIdentity:
        """Return what tells this QEMU apart from every other, and from itself after an upgrade."""
        import hashlib

        digest = hashlib.sha256(json.dumps([self.files(), self.stamps]).encode()).hexdigest()
        return VmmIdentity(self.path, self.version, digest[:16])

    @property
    def opens_ram_read_only(self) -> bool:
        """Return whether a private mapping of a file that QEMU may only read is possible (`rom=off`, since 8.2)."""
        return _numbers(self.version) >= (8, 2, 0)

    def files(self) -> tuple[str, ...]:
        """Return every file that the stamps are of, in their order."""
        return (self.path, self.firmware, *self.libraries)

    def is_unchanged(self) -> bool:
        """Return whether every file is still the one that was looked at."""
        return _stamps(self.files()) == self.stamps


def find_binary(cache_dir: Path) -> QemuBinary:
    """Return the QEMU of this host.

    Raises:
        PyroError: MISSING_PROGRAM, with the command that installs it; UNSUPPORTED if it is too old.
    """
    path = os.fspath(programs.find_program(PROGRAM))
    known = _read_cached(cache_dir / CACHE_FILE)
    if known is None or known.path != path or not known.is_unchanged():
        known = _ask(path)
        write_cache(cache_dir / CACHE_FILE, {"schema": _SCHEMA, **to_json(known)})
    require_version(known.version)
    return known


def parse_version(text: str) -> str:
    """Return the version in what `qemu --version` prints, as `major.minor.micro`.

    Raises:
        PyroError: UNSUPPORTED if there is none.
    """
    found = re.search(_VERSION, text)
    if found is None:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"{PROGRAM} does not say its version, but: {text[:80]!r}",
            hint="Install QEMU from your distribution.",
        )
    return ".".join(part or "0" for part in found.groups())


def require_version(version: str) -> None:
    """Check that a version is not too old.

    Raises:
        PyroError: UNSUPPORTED, naming both versions.
    """
    if _numbers(version) >= MINIMUM_VERSION:
        return
    wanted = ".".join(map(str, MINIMUM_VERSION))
    raise PyroError(
        ErrorCode.UNSUPPORTED,
        f"QEMU {version} is too old: {wanted} or later is needed",
        hint=f"Upgrade it: {programs.install_command([PROGRAM])}".rstrip(": "),
        details={"version": version, "minimum": wanted},
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _ask(path: str) -> QemuBinary:
    version = parse_version(process.run([path, "--version"], timeout_s=_ASK_TIMEOUT_S).text)
    # ldd runs the binary's own loader, which also follows the libraries' libraries.
    listing = process.run(["ldd", path], timeout_s=_ASK_TIMEOUT_S, check=False).text
    libraries = tuple(dict.fromkeys(re.findall(_LIBRARY, listing)))
    firmware = _find_firmware()
    named = sorted({os.path.dirname(library) for library in libraries})
    directories = sorted({os.path.realpath(directory) for directory in named})
    return QemuBinary(
        path=path,
        version=version,
        firmware=firmware,
        libraries=libraries,
        directories=tuple(directories),
        links=tuple((name, os.path.realpath(name)) for name in named if os.path.realpath(name) != name),
        preload=tuple(name for name in _SEARCHED_FIRST if any(os.path.basename(path) == name for path in libraries)),
        stamps=_stamps((path, firmware, *libraries)) or (),
    )


def _find_firmware() -> str:
    for name in _FIRMWARE:
        for directory in _FIRMWARE_DIRECTORIES:
            candidate = os.path.join(directory, name)
            if os.path.isfile(candidate):
                return candidate
    raise PyroError(
        ErrorCode.MISSING_PROGRAM,
        f"QEMU's firmware for microvm machines ({' or '.join(_FIRMWARE)}) is not installed",
        hint="Install QEMU's system data, which your distribution may keep in a package of its own (qemu-system-data).",
    )


def _stamps(files: tuple[str, ...]) -> tuple[Stamp, ...] | None:
    try:
        found = [os.stat(path) for path in files]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, f"look at {error.filename}") from error
    return tuple((stat.st_size, stat.st_ino, stat.st_mtime_ns) for stat in found)


def _read_cached(path: Path) -> QemuBinary | None:
    document = read_cache(path)
    with suppress(PyroError):
        return from_json(QemuBinary, document) if document.get("schema") == _SCHEMA else None
    return None
