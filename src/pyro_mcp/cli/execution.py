"""Run one operation from the command line: signals, progress on stderr, the result on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

from pyro_mcp.cli.parsing import Parsed, parse
from pyro_mcp.cli.quiet import ids, quiet_help
from pyro_mcp.cli.shape import Shape
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import STDERR, put, put_alone, put_json, say
from pyro_mcp.host.progress import Lines, Progress, Silent
from pyro_mcp.operations.fields import Place, parameters
from pyro_mcp.operations.operation import Operation, Result
from pyro_mcp.operations.runner import Runner

_QUIET_RUN = "print only the command's output, without phases and summary"
_FORMATS = {
    "workspace_diff": {
        "stat": "print the changed files with their numbers of lines",
        "name-only": "print the names of the changed files",
    }
}
# Commands that take -f.
_FOLLOWED = frozenset({"workspace_logs", "service_logs", "workspace_network_log"})
# Commands that take several ids.
_MANY = frozenset({"workspace_delete", "workspace_stop", "workspace_start", "vm_delete"})


def execute(operation: Operation[Any, Any], arguments: Sequence[str]) -> int:
    """Parse the arguments, run the operation and show its result; return the exit status."""
    parsed = parse(shape_of(operation), arguments)
    with interruptible():
        takes_command = any(parameter.place is Place.COMMAND for parameter in parameters(operation.request))
        if takes_command and not operation.is_detached:
            if parsed.tty:
                from pyro_mcp.cli.attaching import exec_attached

                return exec_attached(parsed)
            from pyro_mcp.cli.guest_command import execute_in_guest

            return execute_in_guest(operation, parsed)
        if parsed.follow:
            from pyro_mcp.cli.following import follow

            return follow(operation, parsed)
        return _execute(operation, parsed)


def shape_of(operation: Operation[Any, Any]) -> Shape:
    """Return an operation's shape for the parser."""
    only = f"--{operation.only[0]}" if operation.only else ""
    runs = any(each.place is Place.COMMAND for each in parameters(operation.request)) and not operation.is_detached
    return Shape(
        operation.cli or (),
        operation.description,
        operation.request,
        only=only,
        quiet=_QUIET_RUN if runs else quiet_help(operation.name),
        takes_stdin=operation.takes_stdin,
        takes_many=operation.name in _MANY,
        formats=_FORMATS.get(operation.name, {}),
        follows=operation.name in _FOLLOWED,
    )


def _execute(operation: Operation[Any, Any], parsed: Parsed) -> int:
    if parsed.others:
        return _execute_all(operation, parsed)
    if operation.name == "env_pull" and not parsed.json:
        say(f"[pull] phase=install environment={parsed.request.environment}")
    with progress_of(parsed) as progress:
        result = _result(operation, parsed.request, progress)
    # Only after the progress bar is closed: it would be redrawn over the result.
    return present(operation, result, parsed)


def _result(operation: Operation[Any, Any], request: object, progress: Progress) -> Result:
    from dataclasses import replace

    runner = Runner()
    return runner.run(operation, request, replace(runner.call(), progress=progress))


def _execute_all(operation: Operation[Any, Any], parsed: Parsed) -> int:
    """Run the operation for each argument, continuing after failures. Return status 1 if any failed."""
    from pyro_mcp.cli.failures import FAILED, error_text
    from pyro_mcp.errors import ErrorCode, PyroError

    documents: list[object] = []
    status = 0
    for request in (parsed.request, *parsed.others):
        try:
            with progress_of(parsed) as progress:
                result = _result(operation, request, progress)
        except PyroError as error:
            if error.code is ErrorCode.CANCELLED:
                raise
            status = FAILED
            documents.append({"ok": False, "error": error.to_json()})
            if not parsed.json:
                say(error_text(error))
            continue
        documents.append(result)
        if not parsed.json:
            present(operation, result, parsed)
    if parsed.json:
        put_json({"count": len(documents), "results": documents})
    return status


def present(operation: Operation[Any, Any], result: Result, parsed: Parsed) -> int:
    """Write a result in the requested form; return the exit status."""
    if parsed.json:
        put_json(result)
    elif parsed.format:
        from pyro_mcp.cli.output.workspaces import DIFF_FORMATS

        DIFF_FORMATS[parsed.format](result)
    elif parsed.quiet:
        put(ids(operation.name, result))
    elif parsed.only and operation.only is not None:
        put_alone(str(getattr(result, operation.only[1])), ends_line=operation.only[1].endswith("_id"))
    else:
        from pyro_mcp.cli.output.rendering import show

        show(operation, result)
    return int(getattr(result, "exit_status", 0))


def progress_of(parsed: Parsed) -> AbstractContextManager[Any]:
    """Return the progress of a command; use it as a context manager."""
    # With --json a program reads the output: progress is only for a person at a terminal.
    if parsed.json and not os.isatty(STDERR):
        from contextlib import nullcontext

        return nullcontext(Silent())
    return progress_on(sys.stderr)


def progress_on(stream: TextIO) -> Lines:
    """Return the progress for a stream: a bar on a terminal, else lines. Use it as a context manager."""
    if not stream.isatty():
        return Lines(stream)
    from pyro_mcp.host.progress_bar import Bar

    return Bar(stream)
