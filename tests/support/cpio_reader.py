"""Read an initramfs, to check what the product wrote."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_HEADER_BYTES = 110


@dataclass(frozen=True)
class Member:
    """One member of a cpio archive in the newc format."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime: int
    data: bytes
    device: tuple[int, int]


def read_members(archive: bytes) -> Generator[Member]:
    """Read an archive up to its trailer."""
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name_at, name_size, size = at + _HEADER_BYTES, fields[11], fields[6]
        assert archive[name_at + name_size - 1] == 0
        name = archive[name_at : name_at + name_size - 1].decode()
        data_at = (name_at + name_size + 3) // 4 * 4
        at = (data_at + size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return
        data = archive[data_at : data_at + size]
        yield Member(name, fields[1], fields[2], fields[3], fields[5], data, (fields[9], fields[10]))


def unpack(archive: bytes, target: Path) -> None:
    """Unpack an archive that the product made, without device nodes: only root can make those."""
    for member in read_members(archive):
        path = target / member.path
        if stat.S_ISDIR(member.mode):
            path.mkdir()
        elif stat.S_ISREG(member.mode):
            path.write_bytes(member.data)
            path.chmod(stat.S_IMODE(member.mode))
        elif stat.S_ISLNK(member.mode):
            os.symlink(member.data.decode(), path)
