"""`pyro cp`: files and directories in and out of a workspace."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pyro_mcp.cli.execution import progress_of
from pyro_mcp.cli.output.tables import size
from pyro_mcp.cli.parsing import Parsed
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import STDIN, STDOUT, put, put_json, say, write
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.printable import printable_line
from pyro_mcp.operations.runner import Runner

_STDIO = "-"
_READ_BYTES = 1024 * 1024
_FORMS = "Give pyro cp PATH ID:PATH or pyro cp ID:PATH PATH."


def copy(source: str, destination: str, include_host_hooks: bool, parsed: Parsed) -> int:
    """Copy from this host to a workspace, or the other way; return the exit status."""
    guest_source, guest_destination = _guest_side(source), _guest_side(destination)
    if (guest_source is None) == (guest_destination is None):
        problem = "neither path is one in a workspace" if guest_source is None else "both paths are in workspaces"
        raise UsageError(problem, hint=f"{_FORMS} A path of this host with a colon is written ./a:b.")
    if destination == _STDIO and os.isatty(STDOUT):
        raise UsageError("stdout is a terminal", hint="Write it to a file or a pipe.")
    from dataclasses import replace

    from pyro_mcp.workspace.files.copying import copy_from_stream, copy_in, copy_out, copy_to_stream

    runner = Runner()
    with interruptible(), progress_of(parsed) as progress, engine(replace(runner.call(), progress=progress)) as using:
        if guest_destination is not None:
            workspace, path = guest_destination
            if source == _STDIO:
                with _spooled() as stream:
                    copied = copy_from_stream(using, workspace, stream, path)
            else:
                copied = copy_in(using, workspace, Path(source), path)
            entry_count, written, told = copied.entry_count, copied.bytes_written, []
            place = f"{workspace}:{copied.path}"
        elif guest_source is not None and destination == _STDIO:
            copy_to_stream(using, *guest_source, lambda data: write(STDOUT, data))
            return 0
        else:
            workspace, path = guest_source or ("", "")
            taken = copy_out(using, workspace, path, Path(destination), include_host_hooks=include_host_hooks)
            report = taken.report
            entry_count, written, place = report.entry_count, report.bytes_written, report.output_path
            told = [f"left out: {each.name}: {each.reason}" for each in report.left_out]
            told += [
                f"left out: {each.name}: {each.tool} would run it automatically (--include-host-hooks includes it)"
                for each in report.host_hooks
                if not each.kept and not each.is_instruction
            ]
    if parsed.json:
        put_json({"source": source, "destination": str(place), "entry_count": entry_count, "bytes_written": written})
        return 0
    entries = "1 entry" if entry_count == 1 else f"{entry_count} entries"
    put(f"copied {printable_line(source)} to {printable_line(str(place))} ({entries}, {size(written)})")
    for line in told:
        say(printable_line(line))
    return 0


@contextmanager
def _spooled() -> Generator[BinaryIO]:
    """Yield all of stdin as a file without a name: an archive is checked before it is taken."""
    from tempfile import TemporaryFile

    with TemporaryFile() as spool:
        while data := os.read(STDIN, _READ_BYTES):
            spool.write(data)
        spool.seek(0)
        yield spool


def _guest_side(text: str) -> tuple[str, str] | None:
    """Return the workspace and the path of ID:PATH, or None for a path of this host."""
    workspace, colon, path = text.partition(":")
    if not colon or not workspace or os.sep in workspace or workspace.startswith((".", "~")):
        return None
    return workspace, path or "."
