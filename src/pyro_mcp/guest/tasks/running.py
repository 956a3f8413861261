"""Run one task, in its process, from the request to the answer."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from typing import cast

from pyro_mcp.guest.console import log_exception
from pyro_mcp.guest.tasks.applying import apply_changes
from pyro_mcp.guest.tasks.area import Area, TaskRoots
from pyro_mcp.guest.tasks.comparing import compare_trees
from pyro_mcp.guest.tasks.contents import fetch_files, read_file, write_file
from pyro_mcp.guest.tasks.exporting import export_root
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.freezing import freeze
from pyro_mcp.guest.tasks.ignoring import Rules
from pyro_mcp.guest.tasks.listing import list_files, usage
from pyro_mcp.guest.tasks.moving import make_directory, move_file, remove_file
from pyro_mcp.guest.tasks.packing import pack_files
from pyro_mcp.guest.tasks.processes import list_processes
from pyro_mcp.guest.tasks.staging import sweep
from pyro_mcp.guest.tasks.streams import STDERR, STDOUT, write_all
from pyro_mcp.guest.tasks.unpacking import unpack_files
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document, decode_trusted, encode_document
from pyro_mcp.protocol.ignore_rules import RuleFile

_OPEN_FILES = 16384
_FAILED = 1


def run_task(body: bytes, grounds: TaskRoots) -> int:
    """Do what a TASK frame says, tell how that went, and return the exit status."""
    document = decode_trusted(body[tasks.TASK.size :])
    status = 0
    try:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, limit), limit))
        answer: Mapping[str, object] = {"ok": _perform(document, grounds)}
    except BrokenPipeError:
        # Nobody listens any more.
        return _FAILED
    except TaskError as error:
        answer, status = {"error": _told(error)}, _FAILED
    except OSError as error:
        answer, status = {"error": _told(failure(error, None))}, _FAILED
    except (MemoryError, RecursionError, ValueError, TypeError) as error:
        log_exception()
        answer, status = {"error": _told(TaskError(tasks.SYSTEM, message=repr(error)))}, _FAILED
    try:
        write_all(STDERR, encode_document(answer))
    except BrokenPipeError:
        return _FAILED
    # The agent passes the answer on at their end; what else there is to be taken down takes a while.
    os.close(STDOUT)
    os.close(STDERR)
    return status


def _told(error: TaskError) -> Document:
    document: Document = {"code": error.code, "message": error.message[:1000]}
    if error.path is not None:
        document["path"] = os.fsdecode(error.path)
    return document


class _Fields:
    """The parameters of a task. The host is trusted: only the types are checked."""

    def __init__(self, document: Document) -> None:
        self._document = document

    @property
    def path(self) -> bytes:
        """Return the path."""
        return self.name("path")

    def name(self, name: str) -> bytes:
        """Return a path."""
        return os.fsencode(cast("str", self._document[name]))

    def number_or_none(self, name: str) -> int | None:
        """Return a number that may be missing."""
        return cast("int | None", self._document.get(name))

    @property
    def rules(self) -> tuple[Rules, ...]:
        """Return the files of rules above the workspace, where its seed came from."""
        given = cast("list[list[str]]", self._document.get("rules", []))
        return tuple(Rules(b"", RuleFile(os.fsencode(text)), os.fsencode(way)) for way, text in given)

    def count(self, name: str) -> int:
        """Return a number."""
        return int(cast("int", self._document[name]))

    def counts(self, *names: str) -> dict[str, int]:
        """Return several."""
        return {name: self.count(name) for name in names}

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        return self._document.get(name) is True


def _perform(document: Document, grounds: TaskRoots) -> Mapping[str, object]:
    name, area = document.get("task"), Area(grounds, document.get("area"))
    task = _TASKS.get(cast("str", name))
    if task is None or (name in _CHANGING and grounds.inspecting):
        why = "does not know the task" if task is None else "only looks at this guest, and refuses to"
        raise TaskError(tasks.UNSUPPORTED, message=f"the agent {why} {name!r}")
    if name in _SWEEPING and grounds.is_machine and not grounds.inspecting:
        sweep(os.fsdecode(grounds.workspace))
    return task(area, _Fields(document))


_TASKS: dict[str, Callable[[Area, _Fields], Mapping[str, object]]] = {
    tasks.LIST: lambda area, fields: list_files(
        area,
        fields.path,
        recursive=fields.flag("recursive"),
        limit=fields.count("limit"),
        is_alone=fields.flag("alone"),
        follow=not fields.flag("no_follow"),
    ),
    tasks.READ: lambda area, fields: read_file(area, fields.path, max_bytes=fields.count("max_bytes")),
    tasks.WRITE: lambda area, fields: write_file(
        area, fields.path, size=fields.count("size"), mode=fields.number_or_none("mode")
    ),
    tasks.MKDIR: lambda area, fields: make_directory(area, fields.path),
    tasks.MOVE: lambda area, fields: move_file(area, fields.path, fields.name("target")),
    tasks.REMOVE: lambda area, fields: remove_file(area, fields.path, recursive=fields.flag("recursive")),
    tasks.FETCH: lambda area, fields: fetch_files(area, **fields.counts("count", "max_file_bytes", "max_total_bytes")),
    tasks.APPLY: lambda area, fields: apply_changes(area, count=fields.count("count")),
    tasks.PACK: lambda area, fields: pack_files(
        area, fields.path, rules_above=fields.rules, include_ignored=fields.flag("include_ignored")
    ),
    tasks.UNPACK: lambda area, fields: unpack_files(area, fields.path),
    tasks.DIFF: lambda area, fields: compare_trees(
        area,
        fields.path,
        rules_above=fields.rules,
        include_ignored=fields.flag("include_ignored"),
        include_binary=fields.flag("include_binary"),
        **fields.counts("max_entries", "max_file_bytes", "max_total_bytes"),
    ),
    tasks.FREEZE: lambda area, fields: freeze(area, with_root=fields.flag("with_root")),
    tasks.USAGE: lambda area, _: usage(area),
    tasks.EXPORT: lambda area, _: export_root(area),
    tasks.PROCESSES: lambda area, fields: list_processes(area, most=fields.count("most")),
}
# They would show what a task that was cut off has left. Those that stage files look for it themselves.
_SWEEPING = (tasks.DIFF, tasks.PACK, tasks.FREEZE)
_CHANGING = (tasks.WRITE, tasks.APPLY, tasks.UNPACK, tasks.FREEZE, tasks.MKDIR, tasks.MOVE, tasks.REMOVE)
