"""Push a directory or an archive of the host into a workspace.

A push is not atomic: after a failure part of it may have been written, and the error says so. A reset undoes it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import PyroError
from pyro_mcp.host.progress import Progress
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind
from pyro_mcp.state.journal import note_activity
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.report import SeedReport
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.paths import path_below, path_shown
from pyro_mcp.workspace.guest import guest_of

_NEWS_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pushed:
    """The report of a push."""

    workspace_id: str
    destination: str
    report: SeedReport


def push_sync(engine: Engine, handle: str, source: Path, dest: str, *, cancel: CancelToken | None = None) -> Pushed:
    """Push a tree of the host into a directory of a workspace; other files in it are kept.

    Raises:
        PyroError: any fault of the source, before anything is written; any failure of the guest to write, with a hint.
    """
    name = path_below(dest)
    source = Path(os.path.abspath(source))
    avoid = (engine.paths.state, engine.paths.cache, engine.paths.runtime)
    with closing(stream_tree(source, avoid=avoid)) as stream:
        with guest_of(engine, handle, activity=False) as use, use.session() as session:
            engine.progress.phase("sync", str(source))
            try:
                GuestFiles(session, cancel=cancel).unpack(name, _counted(stream, engine.progress))
            except PyroError as error:
                raise _in_part(error, use.workspace.title) from error
            workspace_id = use.workspace.id
        report = stream.report
    shown = path_shown(name)
    summary: dict[str, object] = {
        "source_path": str(source),
        "destination": shown,
        "entry_count": report.entry_count,
        "bytes_written": report.bytes_written,
    }
    note_activity(engine.store, engine.clock, workspace_id, event=ReviewEvent(ReviewKind.SYNC, summary))
    return Pushed(workspace_id, shown, report)


def _counted(chunks: Iterable[bytes], progress: Progress) -> Generator[bytes]:
    sent = told = 0
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        if sent - told >= _NEWS_BYTES:
            told = sent
            progress.advance(None, f"{sent // 1024**2} MiB")


def _in_part(error: PyroError, title: str) -> PyroError:
    hint = f"Part of it may have been written: reset {title} if that matters, or push again."
    return PyroError(error.code, error.message, hint=f"{error.hint} {hint}".strip(), details=error.details)
