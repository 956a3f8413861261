"""Copy files and directories between the host and any path of a guest, like `cp`, as a stream.

If the destination is a directory, the copy goes into it under its own name. Nothing on the host is overwritten, and
files that a host tool would run automatically are left out, as in an export.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyro_mcp.agent import CancelToken
from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.trees.archive import ArchiveSource
from pyro_mcp.trees.directory import DirectorySource
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.receive import ReceiveReport, TreeReceiver
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.anywhere import GuestPlace, full_path, place_of, read_bytes


@dataclass(frozen=True, slots=True)
class CopiedIn:
    """The report of a copy into a guest, with its path there."""

    path: str
    entry_count: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class CopiedOut:
    """The report of a copy out of a guest, with its path there."""

    path: str
    report: ReceiveReport


def copy_in(engine: Engine, handle: str, source: Path, dest: str, *, cancel: CancelToken | None = None) -> CopiedIn:
    """Copy a file or directory of the host to a path of a guest. Directories are merged.

    Raises:
        PyroError: NOT_FOUND, PERMISSION, INVALID, NO_SPACE, on either side. Part of it may have been written.
    """
    source = Path(os.path.abspath(source))
    with os_errors(f"read {source}"):
        is_directory = stat.S_ISDIR(os.stat(source).st_mode)
    changes: dict[str, object] = {}
    with place_of(engine, handle, changes=changes, cancel=cancel) as place:
        target = full_path(dest)
        if dest.endswith("/") or _is_directory(place, target):
            target = posixpath.join(target, source.name)
        name = place.name(target)
        engine.progress.phase("copy", str(source))
        if is_directory:
            copied = _tree_in(engine, place, name, source)
        else:
            with os_errors(f"read {source}"), open(source, "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise PyroError(ErrorCode.INVALID, f"{source} is neither a file nor a directory")
                mode = stat.S_IMODE(found.st_mode)
                written = place.files.write(name, file, size=found.st_size, mode=mode)
            copied = CopiedIn(place.shown(name), 1, written.size_bytes)
        changes |= {"path": copied.path, "size_bytes": copied.bytes_written, "created": True}
    return copied


def copy_out(
    engine: Engine,
    handle: str,
    path: str,
    output: Path,
    *,
    include_host_hooks: bool = False,
    cancel: CancelToken | None = None,
) -> CopiedOut:
    """Copy a file or directory of a guest to a path of the host.

    Raises:
        PyroError: CONFLICT if the output already exists; NOT_FOUND, PERMISSION, NO_SPACE. Nothing is left behind.
    """
    output = Path(os.path.abspath(output))
    with place_of(engine, handle, cancel=cancel) as place:
        name = place.name(path)
        if output.is_dir():
            output /= posixpath.basename(place.shown(name))
        shown = place.shown(name)
        inside = shown.removeprefix(WORKSPACE + "/").encode() if shown.startswith(WORKSPACE + "/") else b""
        hooks = HookPolicy(inside=inside, baseline=place.use.workspace.seed.host_hooks, include_all=include_host_hooks)
        engine.progress.phase("copy", shown)
        with TreeReceiver(output, hooks=hooks, progress=engine.progress, notes=engine.paths.exports) as receiver:
            place.files.pack(name, receiver.feed)
            report = receiver.finish()
        return CopiedOut(shown, report)


def copy_from_stream(
    engine: Engine, handle: str, stream: BinaryIO, dest: str, *, cancel: CancelToken | None = None
) -> CopiedIn:
    """Copy a stream to a path of a guest: a tar archive into a directory, or the content of a file.

    `stream` must be seekable and have a descriptor.

    Raises:
        PyroError: as `copy_in`.
    """
    changes: dict[str, object] = {}
    size = os.fstat(stream.fileno()).st_size
    with place_of(engine, handle, changes=changes, cancel=cancel) as place:
        name = place.name(dest)
        if dest.endswith("/") or _is_directory(place, dest):
            archive = ArchiveSource(Path(f"/proc/self/fd/{stream.fileno()}"))
            with closing(stream_tree(archive)) as tree:
                place.files.unpack(name, tree)
            copied = CopiedIn(place.shown(name), tree.report.entry_count, tree.report.bytes_written)
        else:
            written = place.files.write(name, stream, size=size)
            copied = CopiedIn(place.shown(name), 1, written.size_bytes)
        changes |= {"path": copied.path, "size_bytes": copied.bytes_written, "created": True}
    return copied


def copy_to_stream(
    engine: Engine, handle: str, path: str, write: Callable[[bytes], None], *, cancel: CancelToken | None = None
) -> None:
    """Write a file's content, or a directory as a tar archive, to `write`.

    Raises:
        PyroError: NOT_FOUND, PERMISSION; TOO_LARGE for a file of more than 100 MiB.
    """
    with place_of(engine, handle, cancel=cancel) as place:
        if _is_directory(place, path):
            place.files.pack(place.name(path), write)
            return
    write(read_bytes(engine, handle, path, cancel=cancel))


def _tree_in(engine: Engine, place: GuestPlace, name: bytes, source: Path) -> CopiedIn:
    avoid = (engine.paths.state, engine.paths.cache, engine.paths.runtime)
    with closing(stream_tree(DirectorySource(source, avoid=avoid))) as stream:
        place.files.unpack(name, stream)
    return CopiedIn(place.shown(name), stream.report.entry_count, stream.report.bytes_written)


def _is_directory(place: GuestPlace, path: str) -> bool:
    try:
        return place.files.stat(place.name(path), follow=True).kind is FileKind.DIRECTORY
    except PyroError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return False
