"""Looking into disks that a test has just made, with the tools that know best: e2fsck and debugfs.

Owns reading. Product code never does this: no disk that a guest has written is read on a host.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.host import process

if TYPE_CHECKING:
    from pathlib import Path

DISK_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Inode:
    """What debugfs says of one file."""

    number: int
    mode: int
    user: int
    group: int
    links: int
    size: int
    sectors: int
    mtime_ns: int
    flags: int


def assert_clean(image: Path) -> None:
    """Have e2fsck look at everything; it would end with a status other than 0 for the least thing."""
    done = process.run(["e2fsck", "-fn", image], timeout_s=_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.text


def debugfs(image: Path, command: str) -> str:
    return process.run(["debugfs", "-R", command, image], timeout_s=_TIMEOUT_S).text


def inode(image: Path, name: str) -> Inode:
    text = debugfs(image, f'stat "{name}"')

    def number(pattern: str, base: int = 10) -> int:
        found = re.search(pattern, text)
        assert found is not None, f"{name}: {text}"
        return int(found[1], base)

    seconds, extra = number(r"mtime: 0x([0-9a-f]+)", 16), number(r"mtime: 0x[0-9a-f]+:([0-9a-f]+)", 16)
    return Inode(
        number=number(r"Inode: (\d+)"),
        mode=number(r"Mode: +(\d+)", 8),
        user=number(r"User: +(\d+)"),
        group=number(r"Group: +(\d+)"),
        links=number(r"Links: (\d+)"),
        size=number(r"Size: (\d+)"),
        sectors=number(r"Blockcount: (\d+)"),
        # The seconds are signed; two bits of the extra field are added to them.
        mtime_ns=((seconds ^ 1 << 31) - (1 << 31) + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2),
        flags=number(r"Flags: 0x([0-9a-f]+)", 16),
    )


def unpacked(image: Path, target: Path) -> Path:
    """Have debugfs copy everything out of the image into a new directory."""
    target.mkdir()
    debugfs(image, f'rdump / "{target}"')
    return target


def described(root: Path) -> dict[bytes, tuple[str, int, bytes]]:
    """Return each name below a directory with its kind, mode and content (of a link: its target)."""
    found: dict[bytes, tuple[str, int, bytes]] = {}
    base = os.fsencode(root)
    for directory, subdirectories, files in os.walk(base):
        for name in (*subdirectories, *files):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            key = os.path.relpath(path, base)
            if stat.S_ISLNK(mode):
                found[key] = ("link", 0o777, os.readlink(path))
            elif stat.S_ISDIR(mode):
                found[key] = ("directory", mode & 0o7777, b"")
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[key] = ("file", mode & 0o7777, file.read())
            else:
                found[key] = ("special", mode & 0o7777, b"")
    return found
