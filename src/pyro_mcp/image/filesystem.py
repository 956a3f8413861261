"""Create the read-only ext4 image of an environment. It has no free space: writes go to another disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process, programs

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.image.namespace import Namespace

_TIMEOUT_S = 600.0
_BLOCK_BYTES = 4096
_INODE_BYTES = 256
_BLOCKS_PER_GROUP = 8 * _BLOCK_BYTES
_RESERVED_INODES = 16
# Link targets up to this length are stored in the inode.
_SHORT_LINK_BYTES = 59
# Listed explicitly, since mke2fs's defaults differ between versions. Omitted: a journal and an orphan file, which a
# read-only mount would process; metadata checksums, which cost the guest time, while the image is verified as a whole.
_FEATURES = "none,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,flex_bg,huge_file,large_file,sparse_super"
# The same for all environments: images differ by their digest.
_UUID = "70797230-6d63-4370-8000-000000000001"
_HASH_SEED = "70797230-6d63-4370-8000-000000000002"
_EPOCH = "1735689600"


@dataclass(frozen=True, slots=True)
class TreeSize:
    """The size of a tree: its entries, the blocks of its content, and that content in bytes."""

    entries: int
    blocks: int
    content_bytes: int


def measure_tree(namespace: Namespace, tree: Path) -> TreeSize:
    """Return the size of a tree in an ext4 image. Hard links count once."""
    done = namespace.run(["find", tree, "-printf", r"%y %s %i\n"], timeout_s=_TIMEOUT_S)
    entries = blocks = content = 0
    seen: set[str] = set()
    for line in done.text.splitlines():
        kind, size, inode = line.split()
        if inode in seen:
            continue
        seen.add(inode)
        entries += 1
        if kind == "f":
            content += int(size)
            blocks += -(-int(size) // _BLOCK_BYTES)
        elif kind == "d":
            # At least the size of the host's directory: entries of other file systems are never larger than ext4's.
            blocks += max(1, -(-int(size) // _BLOCK_BYTES))
        elif int(size) > _SHORT_LINK_BYTES:
            blocks += 1
    return TreeSize(entries, blocks, content)


def make_image(namespace: Namespace, tree: Path, target: Path) -> TreeSize:
    """Write the tree to a new ext4 image of the minimum size.

    Raises:
        PyroError: NO_SPACE, MISSING_PROGRAM, BUILD_FAILED.
    """
    size = measure_tree(namespace, tree)
    inodes = size.entries + _RESERVED_INODES
    # Directories and extents take a little more than can be computed from the tree; holes cost nothing.
    content = size.blocks + size.blocks // 50 + 1024
    groups = -(-(content * 102 // 100) // _BLOCKS_PER_GROUP) + 1
    metadata = groups * 4 + -(-(inodes + groups * 16) * _INODE_BYTES // _BLOCK_BYTES)
    options = f"nodiscard,lazy_itable_init=0,packed_meta_blocks=1,root_owner=0:0,hash_seed={_HASH_SEED}"
    shape = f"-q -F -t ext4 -O {_FEATURES} -b {_BLOCK_BYTES} -I {_INODE_BYTES} -m 0 -N {inodes} -U {_UUID}"
    command = ["mke2fs", *shape.split(), "-L", "pyro-base", "-E", options, "-d", tree, target, str(content + metadata)]
    path = os.pathsep.join(programs.search_path())
    env = {"PATH": path, "E2FSPROGS_FAKE_TIME": _EPOCH, "SOURCE_DATE_EPOCH": _EPOCH}
    done = namespace.run(command, timeout_s=_TIMEOUT_S, env=env, check=False)
    if done.returncode == 0:
        return size
    reason = done.stderr.decode("utf-8", "replace").strip()
    if "No space left on device" in reason:
        raise PyroError(
            ErrorCode.NO_SPACE,
            f"the disk is full: mke2fs could not write {target.name}",
            hint="Free some disk space (`pyro env prune` helps), or point PYRO_ENVIRONMENT_CACHE_DIR elsewhere.",
        )
    raise PyroError(ErrorCode.BUILD_FAILED, f"mke2fs ended with exit status {done.returncode}: {reason}")


def tool_version() -> str:
    """Return the version of mke2fs."""
    done = process.run(["mke2fs", "-V"], timeout_s=30, check=False)
    words = (done.stderr or done.stdout).decode("utf-8", "replace").split()
    return words[1] if len(words) > 1 else ""
