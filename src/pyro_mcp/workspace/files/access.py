"""List, read and write files of a workspace.

Binary content, files over a megabyte and paths outside `/workspace` are errors. Writes are recorded for review.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.file_values import FileListing
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, Workspace
from pyro_mcp.state.journal import note_activity
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.paths import path_below, path_shown
from pyro_mcp.workspace.guest import guest_of

MAX_FILE_BYTES = 1024 * 1024
MAX_ENTRIES = 10_000
_CHARACTER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """The entries at a path of a workspace and below it."""

    workspace_id: str
    path: str
    listing: FileListing


@dataclass(frozen=True, slots=True)
class ReadText:
    """Part of a file, as text: `byte_count` bytes from `offset` on."""

    workspace_id: str
    path: str
    text: str
    offset: int
    byte_count: int
    size_bytes: int
    mode: int

    @property
    def truncated(self) -> bool:
        """Return whether there is more of the file, before or after this part."""
        return self.byte_count < self.size_bytes


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A file that was written."""

    workspace_id: str
    path: str
    size_bytes: int
    mode: int
    created: bool


def list_files(engine: Engine, handle: str, path: str, *, recursive: bool, cancel: CancelToken | None = None) -> Listed:
    """List a directory of a workspace, recursively if asked.

    Raises:
        PyroError: NOT_FOUND, INVALID; any failure of the guest.
    """
    name = path_below(path)
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        listing = GuestFiles(session, cancel=cancel).list(name, recursive=recursive, limit=MAX_ENTRIES)
        return Listed(use.workspace.id, path_shown(name), listing)


def read_file(
    engine: Engine, handle: str, path: str, *, max_bytes: int, offset: int = 0, cancel: CancelToken | None = None
) -> ReadText:
    """Read part of a text file.

    Raises:
        PyroError: NOT_FOUND; INVALID if it is not a file, not UTF-8 text, or `offset` is beyond the first megabyte; any
            failure of the guest.
    """
    name = path_below(path)
    if offset >= MAX_FILE_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"offset is {offset}, and only the first {MAX_FILE_BYTES} bytes of a file are read",
            hint="Read the rest with a command, such as tail -c or sed -n.",
        )
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        wanted = min(offset + max_bytes, MAX_FILE_BYTES)
        content = GuestFiles(session, cancel=cancel).read(name, max_bytes=wanted)
        shown = path_shown(name)
        return part_of(use.workspace.id, shown, content.data, offset, content.size_bytes, content.mode)


def part_of(workspace_id: str, path: str, data: bytes, offset: int, size_bytes: int, mode: int) -> ReadText:
    """Return part of a file from its first bytes `data`, which may end within a character.

    Raises:
        PyroError: INVALID if it is not UTF-8 text.
    """
    part = data[offset:]
    if offset:
        # The offset is within a character: begin with the next one.
        while part and len(data) - len(part) < offset + _CHARACTER_BYTES and part[0] & 0xC0 == 0x80:
            part = part[1:]
    start = len(data) - len(part)
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        if not (error.reason == "unexpected end of data" and start + len(part) < size_bytes):
            raise PyroError(
                ErrorCode.INVALID,
                f"{path} is not UTF-8 text (at byte {start + error.start})",
                hint="Inspect it with a command in the workspace, or export it.",
                details={"path": path},
            ) from None
        part = part[: error.start]
        text = part.decode()
    return ReadText(workspace_id, path, text, start, len(part), size_bytes, mode)


def write_file(engine: Engine, handle: str, path: str, text: str, *, cancel: CancelToken | None = None) -> WrittenText:
    """Replace a text file atomically, keeping its mode.

    Raises:
        PyroError: INVALID for a directory, a path outside /workspace or a text that is too long; NO_SPACE in the guest;
            any failure of the guest.
    """
    name = path_below(path)
    data = encoded(text, path)
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        files = GuestFiles(session, cancel=cancel)
        if use.workspace.secrets and "[REDACTED]" in text:
            data = encoded(_with_secrets(engine, use.workspace, files, name, text), path)
        written = files.write(name, data)
        workspace_id = use.workspace.id
    shown = path_shown(name)
    summary: dict[str, object] = {"path": shown, "size_bytes": written.size_bytes, "created": written.created}
    note_activity(engine.store, engine.clock, workspace_id, event=ReviewEvent(ReviewKind.FILE_WRITE, summary))
    return WrittenText(workspace_id, shown, written.size_bytes, written.mode, written.created)


def _with_secrets(engine: Engine, workspace: Workspace, files: GuestFiles, name: bytes, text: str) -> str:
    from pyro_mcp.workspace.secrets.keeping import redactor_for
    from pyro_mcp.workspace.secrets.restoring import Restorer

    try:
        before = files.read(name, max_bytes=MAX_FILE_BYTES).data
    except PyroError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return text
    return Restorer(redactor_for(engine.paths, workspace), [(path_shown(name), before)]).restored(text)


def encoded(text: str, path: str) -> bytes:
    """Encode the text of a file.

    Raises:
        PyroError: INVALID if it is too long or not valid Unicode.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise PyroError(
            ErrorCode.INVALID,
            f"the text for {path[:200]} holds half of a character, which UTF-8 does not have",
            hint="Send the text as it is, without \\ud800 to \\udfff escapes that have no partner.",
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"the text for {path[:200]} has {len(data)} bytes",
            hint=f"At most {MAX_FILE_BYTES} can be written at once: bring larger files in by sync push.",
        )
    return data
