"""Select the kernel modules that a guest needs, in load order.

Dependencies are read from the modules themselves.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError

_SIGNATURE = b"~Module signature appended~\n"
_SIGNATURE_INFO = struct.Struct(">8xI")  # struct module_signature, linux/module_signature.h


@dataclass(frozen=True, slots=True)
class KernelModule:
    """One module: its name in the kernel, its dependencies, and the content of its file."""

    name: str
    depends: tuple[str, ...]
    data: bytes


def select_modules(tree: Path, wanted: Sequence[str]) -> list[KernelModule]:
    """Return the `wanted` modules with all dependencies, each after its own dependencies.

    `tree` is a kernel's directory below /lib/modules. Modules that are built into the kernel are omitted.

    Raises:
        PyroError: NOT_FOUND for a name that is neither a module nor built in, CORRUPT.
    """
    files = {_name_of(path.name): path for path in tree.rglob("*.ko*")}
    built_in = _built_in(tree)
    loaded: dict[str, KernelModule] = {}

    def add(name: str, trail: tuple[str, ...]) -> None:
        if name in loaded or name in built_in:
            return
        if name not in files:
            raise PyroError(ErrorCode.NOT_FOUND, f"the kernel in {tree.name} has no module {name}")
        if name in trail:
            raise PyroError(ErrorCode.CORRUPT, f"kernel module {name} depends on itself")
        data = _read_module(files[name])
        depends = tuple(_normal(part) for part in _modinfo(name, data).get("depends", "").split(",") if part)
        for other in depends:
            add(other, (*trail, name))
        loaded[name] = KernelModule(name, tuple(d for d in depends if d not in built_in), data)

    for name in wanted:
        add(_normal(name), ())
    return list(loaded.values())


def order_file(modules: Sequence[KernelModule]) -> bytes:
    """Return the content of the file `order` for the guest: a line `NAME: DEPENDS…` for each module."""
    lines = (" ".join((f"{module.name}:", *module.depends)) for module in modules)
    return "".join(f"{line}\n" for line in lines).encode()


def _normal(name: str) -> str:
    return name.replace("-", "_")


def _name_of(file_name: str) -> str:
    return _normal(file_name.partition(".ko")[0])


def _built_in(tree: Path) -> set[str]:
    try:
        lines = (tree / "modules.builtin").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    return {_name_of(line.rpartition("/")[2]) for line in lines}


def _read_module(path: Path) -> bytes:
    data = path.read_bytes()
    match path.name.partition(".ko")[2]:
        case "":
            pass
        case ".xz":
            import lzma

            data = lzma.decompress(data)
        case ".gz":
            import gzip

            data = gzip.decompress(data)
        case suffix:
            raise PyroError(ErrorCode.UNSUPPORTED, f"{path.name} is compressed in an unknown way ({suffix})")
    return _without_signature(data)


def _without_signature(data: bytes) -> bytes:
    """Remove the appended signature: the initramfs is verified as a whole, and checking each costs the guest time."""
    if not data.endswith(_SIGNATURE):
        return data
    info_at = len(data) - len(_SIGNATURE) - _SIGNATURE_INFO.size
    (length,) = _SIGNATURE_INFO.unpack_from(data, info_at)
    return data[: info_at - length]


def _modinfo(name: str, data: bytes) -> dict[str, str]:
    """Return the module's .modinfo section, NAME=VALUE strings that end with a zero byte."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise PyroError(ErrorCode.CORRUPT, f"kernel module {name} is not a 64-bit ELF file")
    try:
        section = _section(data, b".modinfo")
    except (struct.error, IndexError, ValueError) as error:
        raise PyroError(ErrorCode.CORRUPT, f"kernel module {name} is damaged: {error}") from error
    found = re.findall(rb"([^\0=]+)=([^\0]*)\0", section)
    return {key.decode(): value.decode("utf-8", "replace") for key, value in found}


def _section(data: bytes, name: bytes) -> bytes:
    (table_at,) = struct.unpack_from("<Q", data, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", data, 0x3A)

    def header(index: int) -> tuple[int, int, int]:
        name_at, _, _, _, offset, size = struct.unpack_from("<IIQQQQ", data, table_at + index * entry_size)
        return name_at, offset, size

    _, names_at, _ = header(names_index)
    for index in range(count):
        name_at, offset, size = header(index)
        if data.startswith(name + b"\0", names_at + name_at):
            return data[offset : offset + size]
    return b""
