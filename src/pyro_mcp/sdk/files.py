"""The files of a workspace's guest, at any path, as text or bytes: `workspace.files`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.fields import said
from pyro_mcp.operations.operation import Result, engine, utc_text
from pyro_mcp.sdk.calling import Calling, calling

if TYPE_CHECKING:
    from pyro_mcp.agent.file_values import FileEntry

DEFAULT_MAX_BYTES = 100 * 1024 * 1024


class FileInfo(Result):
    """A file, directory or link of a guest."""

    path: str = said("Its full path.")
    artifact_type: str = said("Its type: file, directory, symlink, other.")
    size_bytes: int = said("Its size.")
    mode: int = said("Its permission bits, as chmod takes them.")
    modified_at: str = said("When its content was last changed (UTC).")
    link_target: str | None = said("Target of a symbolic link.")


class FileWritten(Result):
    """A file that was written."""

    size_bytes: int = said("Its size.")
    mode: int = said("Its permission bits.")
    created: bool = said("Whether the file is new.")


class Files:
    """Files at any path of the guest. A relative path is below /workspace, and ~ is root's home.

    Every method raises `NotFoundError`, `IsDirectoryError`, `NotPermittedError`, `TooLargeError`, `NoSpaceError` or
    another `PyroError`. Links are followed. Reads are not recorded.

    Example: `workspace.files.write("/etc/motd", "hello"); workspace.files.read("/etc/motd")`
    """

    def __init__(self, pyro: Calling, workspace_id: str) -> None:
        self._pyro, self._id = pyro, workspace_id

    def read(self, path: str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> str:
        """Return the content of a UTF-8 file of at most `max_bytes` (`TooLargeError`) as text.

        Example: `workspace.files.read("~/.bashrc")`
        """
        data = self.read_bytes(path, max_bytes=max_bytes)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise PyroError(
                ErrorCode.INVALID,
                f"{path} is not UTF-8 text (at byte {error.start})",
                hint="Read it with read_bytes().",
                details={"path": path},
            ) from None

    def read_bytes(self, path: str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """Return the content of a file of at most `max_bytes` (`TooLargeError`).

        Example: `workspace.files.read_bytes("logo.png")`
        """
        from pyro_mcp.workspace.files.anywhere import read_bytes

        with calling(self._pyro) as call, engine(call) as using:
            return read_bytes(using, self._id, path, max_bytes=max_bytes, cancel=call.cancel)

    def write(self, path: str, data: str | bytes | BinaryIO, *, mode: int | None = None) -> FileWritten:
        r"""Replace a file atomically, creating missing parents; without `mode`, an existing file keeps its mode.

        Example: `workspace.files.write("run.sh", "#!/bin/sh\nmake\n", mode=0o755)`
        """
        from pyro_mcp.workspace.files.anywhere import write_bytes

        size = None
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        elif not isinstance(data, bytes) and not data.seekable():
            data = data.read()
        elif not isinstance(data, bytes):
            start = data.tell()
            size = data.seek(0, os.SEEK_END) - start
            data.seek(start)
        with calling(self._pyro) as call, engine(call) as using:
            done = write_bytes(using, self._id, path, data, size=size, mode=mode, cancel=call.cancel)
        return FileWritten(done.size_bytes, done.mode, done.created)

    def list(self, path: str = "/workspace", *, recursive: bool = False) -> list[FileInfo]:
        """List a directory sorted by name, recursively if asked; at most 10,000 entries.

        Example: `[each.path for each in workspace.files.list("/etc")]`
        """
        from pyro_mcp.workspace.files.anywhere import list_anywhere

        with calling(self._pyro) as call, engine(call) as using:
            found = list_anywhere(using, self._id, path, recursive=recursive)
            return [_info(each, found.root) for each in found.entries]

    def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        """Return the entry at a path; a link itself unless `follow`.

        Example: `workspace.files.stat("/usr/bin/python3").size_bytes`
        """
        from pyro_mcp.workspace.files.anywhere import stat_anywhere

        with calling(self._pyro) as call, engine(call) as using:
            found = stat_anywhere(using, self._id, path, follow=follow)
            return _info(found.entries[0], found.root)

    def exists(self, path: str) -> bool:
        """Return whether a path exists.

        Example: `workspace.files.exists("dist")`
        """
        try:
            self.stat(path, follow=False)
        except PyroError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            return False
        return True

    def mkdir(self, path: str) -> None:
        """Create a directory and its missing parents.

        Example: `workspace.files.mkdir("/opt/tool/bin")`
        """
        from pyro_mcp.workspace.files.anywhere import make_directory

        with calling(self._pyro) as call, engine(call) as using:
            make_directory(using, self._id, path)

    def move(self, path: str, target: str) -> None:
        """Move a file or directory to a new path; an existing file is replaced.

        Example: `workspace.files.move("/tmp/report.html", "report.html")`
        """
        from pyro_mcp.workspace.files.anywhere import move

        with calling(self._pyro) as call, engine(call) as using:
            move(using, self._id, path, target)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or, with `recursive`, a directory and its content.

        Example: `workspace.files.remove("node_modules", recursive=True)`
        """
        from pyro_mcp.workspace.files.anywhere import remove

        with calling(self._pyro) as call, engine(call) as using:
            remove(using, self._id, path, recursive=recursive)


def _info(entry: FileEntry, root: str) -> FileInfo:
    name = os.fsdecode(entry.path)
    return FileInfo(
        path=f"{root.rstrip('/')}/{name}" if name else root,
        artifact_type=entry.kind.value,
        size_bytes=entry.size_bytes,
        mode=entry.mode,
        modified_at=utc_text(entry.mtime_ns / 1e9),
        link_target=None if entry.link_target is None else os.fsdecode(entry.link_target),
    )
