"""Files at any path of a guest, as bytes: `/workspace`, `/tmp` and `/etc` alike, as the guest's programs see them.

A relative path is below `/workspace`, and `~` is root's home. Links are resolved inside the guest. Without a guest
(host compat) only `/workspace` exists. Changes are recorded for review, reads are not.
"""

from __future__ import annotations

import posixpath
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from pyro_mcp.agent import AgentSession, CancelToken
from pyro_mcp.agent.exchange import Readable
from pyro_mcp.agent.file_values import Area, FileEntry, Written
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.agent.messages import ExecRequest
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import ExecutionMode
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.state.journal import note_activity
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.access import MAX_ENTRIES
from pyro_mcp.workspace.files.paths import path_below, path_shown
from pyro_mcp.workspace.guest import GuestUse, guest_of

DEFAULT_MAX_BYTES = 100 * 1024 * 1024
_HOME = "/root"
_MOVE_TIMEOUT_S = 3600


class GuestPlace:
    """The files of one guest, over one session."""

    def __init__(self, use: GuestUse, session: AgentSession, cancel: CancelToken | None) -> None:
        is_machine = use.vm.execution_mode is not ExecutionMode.HOST_COMPAT
        self.use, self.session = use, session
        self.files = GuestFiles(session, area=Area.GUEST if is_machine else Area.WORKSPACE, cancel=cancel)
        self.root = "/" if is_machine else WORKSPACE

    def name(self, path: str) -> bytes:
        """Return a path as the guest's agent takes it.

        Raises:
            PyroError: INVALID.
        """
        return path_below(full_path(path), root=self.root)

    def shown(self, name: bytes) -> str:
        """Return the full path of a name."""
        return path_shown(name, root=self.root)


def full_path(path: str) -> str:
    """Return a path as an absolute path of the guest."""
    if path == "~" or path.startswith("~/"):
        path = _HOME + path[1:]
    return posixpath.join(WORKSPACE, path) if path else path


@contextmanager
def place_of(
    engine: Engine, handle: str, *, changes: dict[str, object] | None = None, cancel: CancelToken | None = None
) -> Generator[GuestPlace]:
    """Yield the files of a workspace's guest. `changes`, as the block leaves them, are recorded for review.

    Raises:
        PyroError: as `guest_of`; any failure of the guest.
    """
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        yield GuestPlace(use, session, cancel)
        workspace_id = use.workspace.id
    if changes is not None:
        note_activity(engine.store, engine.clock, workspace_id, event=ReviewEvent(ReviewKind.FILE_WRITE, changes))


def read_bytes(
    engine: Engine, handle: str, path: str, *, max_bytes: int = DEFAULT_MAX_BYTES, cancel: CancelToken | None = None
) -> bytes:
    """Return the content of a file, with secret values redacted.

    Raises:
        PyroError: NOT_FOUND, IS_DIRECTORY, PERMISSION; TOO_LARGE if it has more than `max_bytes`; INVALID.
    """
    with place_of(engine, handle, cancel=cancel) as place:
        name = place.name(path)
        found = place.files.read(name, max_bytes=max_bytes)
        if found.size_bytes > max_bytes:
            raise PyroError(
                ErrorCode.TOO_LARGE,
                f"{place.shown(name)} has {found.size_bytes} bytes, more than the {max_bytes} that may be read",
                hint="Raise max_bytes, or copy it out: `pyro cp`.",
                details={"path": place.shown(name), "size_bytes": found.size_bytes},
            )
        if not place.use.workspace.secrets:
            return found.data
        from pyro_mcp.workspace.secrets.keeping import redactor_for

        return redactor_for(engine.paths, place.use.workspace).data(found.data)


def write_bytes(
    engine: Engine,
    handle: str,
    path: str,
    data: bytes | Readable,
    *,
    size: int | None = None,
    mode: int | None = None,
    cancel: CancelToken | None = None,
) -> Written:
    """Replace a file atomically, creating missing parent directories. A file object needs its `size` in bytes.

    Raises:
        PyroError: IS_DIRECTORY, PERMISSION, NO_SPACE, INVALID.
    """
    changes: dict[str, object] = {}
    with place_of(engine, handle, changes=changes, cancel=cancel) as place:
        name = place.name(path)
        written = place.files.write(name, data, size=size, mode=mode)
        changes |= {"path": place.shown(name), "size_bytes": written.size_bytes, "created": written.created}
    return written


@dataclass(frozen=True, slots=True)
class Found:
    """Entries, with paths relative to `root`. If `truncated`, there are more."""

    root: str
    entries: tuple[FileEntry, ...]
    truncated: bool = False


def list_anywhere(engine: Engine, handle: str, path: str, *, recursive: bool = False) -> Found:
    """List a directory, recursively if asked.

    Raises:
        PyroError: NOT_FOUND, PERMISSION, INVALID.
    """
    with place_of(engine, handle) as place:
        listing = place.files.list(place.name(path), recursive=recursive, limit=MAX_ENTRIES)
        return Found(place.root, listing.entries, listing.truncated)


def stat_anywhere(engine: Engine, handle: str, path: str, *, follow: bool = True) -> Found:
    """Return the entry at a path.

    Raises:
        PyroError: NOT_FOUND, PERMISSION, INVALID.
    """
    with place_of(engine, handle) as place:
        return Found(place.root, (place.files.stat(place.name(path), follow=follow),))


def make_directory(engine: Engine, handle: str, path: str) -> None:
    """Create a directory and its missing parents.

    Raises:
        PyroError: INVALID if the path is not a directory; PERMISSION, NO_SPACE.
    """
    with place_of(engine, handle) as place:
        place.files.make_directory(place.name(path))
        workspace_id = place.use.workspace.id
    note_activity(engine.store, engine.clock, workspace_id)


def move(engine: Engine, handle: str, path: str, target: str) -> None:
    """Move a file or directory, across disks if necessary. An existing file is replaced.

    Raises:
        PyroError: NOT_FOUND, IS_DIRECTORY, CONFLICT, PERMISSION, NO_SPACE, INVALID.
    """
    with place_of(engine, handle) as place:
        source, destination = place.name(path), place.name(target)
        try:
            place.files.move(source, destination)
        except PyroError as error:
            if error.details.get("task_code") != tasks.OUTSIDE:
                raise
            _move_by_command(place, source, destination)
        workspace_id = place.use.workspace.id
    note_activity(engine.store, engine.clock, workspace_id)


def _move_by_command(place: GuestPlace, source: bytes, destination: bytes) -> None:
    """Move across disks: copy, then remove."""
    texts = [place.shown(name) for name in (source, destination)]
    said = bytearray()
    with place.use.session() as session:
        request = ExecRequest(("mv", "-fT", "--", *texts), timeout_s=_MOVE_TIMEOUT_S, cwd="/")
        done = session.exec(request, on_output=lambda _, data: said.extend(data[:1000]))
    if done.exit_code:
        why = said.decode("utf-8", "replace").strip()[:1000]
        raise PyroError(ErrorCode.INVALID, f"{texts[0]} can't be moved to {texts[1]}: {why}")


def remove(engine: Engine, handle: str, path: str, *, recursive: bool = False) -> None:
    """Remove a file, or, with `recursive`, a directory and its content.

    Raises:
        PyroError: NOT_FOUND, IS_DIRECTORY, PERMISSION, INVALID.
    """
    with place_of(engine, handle) as place:
        place.files.remove(place.name(path), recursive=recursive)
        workspace_id = place.use.workspace.id
    note_activity(engine.store, engine.clock, workspace_id)
