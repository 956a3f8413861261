"""Find this host's QEMU: its path, version, identity, and the files that it needs.

The results are cached and stay valid until one of these files changes.
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
# Compiled only when QEMU is examined: usually the cached results are used.
_VERSION = r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?"
# Debian's QEMU has fifty libraries and 12,000 symbols, all bound before main(), each looked up in one library after the
# other. Half of them are in these two: searching these first makes the start 3 ms (of 17) faster.
_SEARCHED_FIRST = ("libc.so.6", "libcrypto.so.3")
_LIBRARY = r"(?m)^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$"

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class QemuBinary:
    """An installed QEMU, with its version and libraries."""

    path: str
    version: str
    firmware: str
    #: The dynamic loader, by the name recorded in the binary, and every shared library.
    libraries: tuple[str, ...]
    #: The directories of the libraries, and symbolic links to these directories (name, target).
    directories: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    #: Libraries to be searched for symbols first, because they define most symbols.
    preload: tuple[str, ...]
    #: Size, inode and mtime of the binary, the firmware and each library. Not the ctime, which changes when a hard link
    #: to a library is created.
    stamps: tuple[Stamp, ...]

    @property
    def identity(self) -> VmmIdentity:
        """Return the identity, which differs between installations and changes with an upgrade."""
        import hashlib

        digest = hashlib.sha256(json.dumps([self.files(), self.stamps]).encode()).hexdigest()
        return VmmIdentity(self.path, self.version, digest[:16])

    @property
    def opens_ram_read_only(self) -> bool:
        """Return whether QEMU supports private mappings of read-only files (`rom=off`, since 8.2)."""
        return _numbers(self.version) >= (8, 2, 0)

    def files(self) -> tuple[str, ...]:
        """Return the files of `stamps`, in the same order."""
        return (self.path, self.firmware, *self.libraries)

    def is_unchanged(self) -> bool:
        """Return whether all files are unchanged."""
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
    """Return the version from the output of `qemu --version`, as `major.minor.micro`.

    Raises:
        PyroError: UNSUPPORTED if there is none.
    """
    found = re.search(_VERSION, text)
    if found is None:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"{PROGRAM} --version printed no version: {text[:80]!r}",
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
        f"QEMU {version} is too old: {wanted} or later is required",
        hint=f"Upgrade it: {programs.install_command([PROGRAM])}".rstrip(": "),
        details={"version": version, "minimum": wanted},
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _ask(path: str) -> QemuBinary:
    version = parse_version(process.run([path, "--version"], timeout_s=_ASK_TIMEOUT_S).text)
    # ldd runs the binary's own loader, and so includes indirect dependencies.
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
        hint="Install QEMU's system data, which your distribution may package separately (qemu-system-data).",
    )


def _stamps(files: tuple[str, ...]) -> tuple[Stamp, ...] | None:
    try:
        found = [os.stat(path) for path in files]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, f"examine {error.filename}") from error
    return tuple((stat.st_size, stat.st_ino, stat.st_mtime_ns) for stat in found)


def _read_cached(path: Path) -> QemuBinary | None:
    document = read_cache(path)
    with suppress(PyroError):
        return from_json(QemuBinary, document) if document.get("schema") == _SCHEMA else None
    return None
