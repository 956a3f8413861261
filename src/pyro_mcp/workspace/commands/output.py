"""Command output in files beside the journal: while a command runs, and after it if the journal has no room for it.

A file holds the beginning of a stream, up to a bound; all files together are bounded too. The file of output that fits
the journal is removed when the command has ended. A full disk does not fail a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from pyro_mcp.agent import OutputBuffer, Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import open_plain
from pyro_mcp.model.limits import JOURNAL_STREAM_BYTES, MAX_KEPT_STREAM_BYTES
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import find_workspace

# Per generation of a workspace; the oldest files are removed first.
MAX_KEPT_BYTES = 256 * 1024 * 1024


class CommandOutput:
    """Passes a command's streams on to the caller and stores their beginnings. A context manager."""

    def __init__(self, directory: Path, seq: int, pass_on: Callable[[Stream, bytes], None] | None) -> None:
        self._pass_on = pass_on
        self._kept = {stream: _Kept(directory / output_name(seq, stream)) for stream in Stream}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for kept in self._kept.values():
            kept.settle()

    def take(self, stream: Stream, data: bytes) -> None:
        """Store output and pass it on."""
        self._kept[stream].add(data)
        if self._pass_on is not None:
            self._pass_on(stream, data)

    def text(self, stream: Stream) -> str:
        """Return the text for the journal."""
        return self._kept[stream].buffer.text()

    def total_bytes(self, stream: Stream) -> int:
        """Return the length of the whole stream."""
        return self._kept[stream].buffer.total_bytes

    def is_truncated(self, stream: Stream) -> bool:
        """Return whether the journal holds only part of the stream."""
        return self._kept[stream].buffer.truncated

    def file_bytes(self, stream: Stream) -> int:
        """Return the size of the file."""
        return self._kept[stream].file_bytes


class _Kept:
    """The kept part of one stream."""

    def __init__(self, path: Path) -> None:
        half = JOURNAL_STREAM_BYTES // 2
        self.buffer = OutputBuffer(JOURNAL_STREAM_BYTES - half, half)
        self._file_bytes = 0
        self._path = path
        self._fd = -1

    @property
    def file_bytes(self) -> int:
        """Return how much stays in the file: nothing of what the journal has whole."""
        return self._file_bytes if self.buffer.truncated else 0

    def add(self, data: bytes) -> None:
        if self.buffer.total_bytes == 0:
            self._open()
        self.buffer.add(data)
        if self._fd >= 0:
            self._write(data[: MAX_KEPT_STREAM_BYTES - self._file_bytes])

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def settle(self) -> None:
        """Close the file, and remove it if the journal has all of it."""
        opened = self._fd >= 0 or self._file_bytes > 0
        self.close()
        if opened and not self.buffer.truncated:
            with suppress(OSError):
                os.unlink(self._path)
                os.rmdir(self._path.parent)

    def _open(self) -> None:
        # Without the file, the record still has the beginning and the end. Another command may remove the directory.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with suppress(OSError):
            while self._fd < 0:
                os.makedirs(self._path.parent, 0o700, exist_ok=True)
                with suppress(FileNotFoundError):
                    self._fd = os.open(self._path, flags, 0o600)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._fd, rest)
                self._file_bytes += written
                rest = rest[written:]
        except OSError:
            self.close()


def output_name(seq: int, stream: Stream) -> str:
    """Return the name of the file that holds the beginning of a command's stream."""
    return f"{seq}.{stream.value}"


def command_output(engine: Engine, handle: str, seq: int, stream: Stream) -> bytes:
    """Return the beginning of a command's long stream, up to 8 MiB.

    Raises:
        PyroError: NOT_FOUND if there is no such command, or its output was short or has been removed since: all that is
            left is in the journal.
    """
    workspace = find_workspace(engine, handle)
    path = WorkspaceFiles(engine.paths, workspace.id).commands(workspace.life) / output_name(seq, stream)
    try:
        with open(open_plain(path), "rb") as file:
            return file.read(MAX_KEPT_STREAM_BYTES)
    except OSError as error:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"no {stream.value} of the command {seq} of the workspace {workspace.title} lies in a file",
            hint="`pyro workspace logs` shows what is kept.",
        ) from error


def output_from(engine: Engine, workspace: Workspace, seq: int, stream: Stream, start: int) -> bytes:
    """Return what a stream of a command has in its file from `start` on, b"" without a file."""
    path = WorkspaceFiles(engine.paths, workspace.id).commands(workspace.life) / output_name(seq, stream)
    with suppress(OSError), open(open_plain(path), "rb") as file:
        file.seek(start)
        return file.read()
    return b""


def keep_recent_output(directory: Path) -> None:
    """Remove the oldest files until the total is within the limit."""
    found: list[tuple[int, int, Path]] = []
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError, ValueError):
                number = int(entry.name.partition(".")[0])
                found.append((number, entry.stat(follow_symlinks=False).st_size, directory / entry.name))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MAX_KEPT_BYTES:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size
