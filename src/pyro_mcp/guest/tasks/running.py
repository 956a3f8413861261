"""Run one task in its process, from the request to the answer."""

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


def run_task(body: bytes, roots: TaskRoots) -> int:
    """Run the task of a TASK frame, write its answer, and return the exit status."""
    document = decode_trusted(body[tasks.TASK.size :])
    status = 0
    try:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, limit), limit))
        answer: Mapping[str, object] = {"ok": _perform(document, roots)}
    except BrokenPipeError:
        # The agent has closed the streams.
        return _FAILED
    except TaskError as error:
        answer, status = {"error": _error_document(error)}, _FAILED
    except OSError as error:
        answer, status = {"error": _error_document(failure(error, None))}, _FAILED
    except (MemoryError, RecursionError, ValueError, TypeError) as error:
        log_exception()
        answer, status = {"error": _error_document(TaskError(tasks.SYSTEM, message=repr(error)))}, _FAILED
    try:
        write_all(STDERR, encode_document(answer))
    except BrokenPipeError:
        return _FAILED
    # The agent forwards the answer when these are closed: tearing down the process takes a while longer.
    os.close(STDOUT)
    os.close(STDERR)
    return status


def _error_document(error: TaskError) -> Document:
    document: Document = {"code": error.code, "message": error.message[:1000]}
    if error.path is not None:
        document["path"] = os.fsdecode(error.path)
    return document


class _Fields:
    """The parameters of a task. The host is trusted, so they are not validated."""

    def __init__(self, document: Document) -> None:
        self._document = document

    @property
    def path(self) -> bytes:
        """Return the path."""
        return self.name("path")

    def name(self, name: str) -> bytes:
        """Return a parameter that is a path."""
        return os.fsencode(cast("str", self._document[name]))

    def number_or_none(self, name: str) -> int | None:
        """Return a parameter that is an optional number."""
        return cast("int | None", self._document.get(name))

    @property
    def rules(self) -> tuple[Rules, ...]:
        """Return the .gitignore files above the workspace in the repository that it was seeded from."""
        given = cast("list[list[str]]", self._document.get("rules", []))
        return tuple(Rules(b"", RuleFile(os.fsencode(text)), os.fsencode(way)) for way, text in given)

    def count(self, name: str) -> int:
        """Return a parameter that is a number."""
        return int(cast("int", self._document[name]))

    def counts(self, *names: str) -> dict[str, int]:
        """Return several such parameters, by name."""
        return {name: self.count(name) for name in names}

    def flag(self, name: str) -> bool:
        """Return a parameter that is a boolean, by default False."""
        return self._document.get(name) is True


def _perform(document: Document, roots: TaskRoots) -> Mapping[str, object]:
    name, area = document.get("task"), Area(roots, document.get("area"))
    task = _TASKS.get(cast("str", name))
    if task is None or (name in _CHANGING and roots.inspecting):
        why = "not supported by this agent" if task is None else "not available while the guest is inspected"
        raise TaskError(tasks.UNSUPPORTED, message=f"the task {name!r} is {why}")
    if name in _SWEEPING and roots.is_machine and not roots.inspecting:
        sweep(os.fsdecode(roots.workspace))
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
# These would include leftovers of interrupted tasks. Tasks that stage files sweep by themselves.
_SWEEPING = (tasks.DIFF, tasks.PACK, tasks.FREEZE)
_CHANGING = (tasks.WRITE, tasks.APPLY, tasks.UNPACK, tasks.FREEZE, tasks.MKDIR, tasks.MOVE, tasks.REMOVE)
