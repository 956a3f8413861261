"""Errors as text or JSON, and the exit status for each kind.

No traceback is printed unless `PYRO_DEBUG=1` asks for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyro_mcp.cli.streams import STDERR, ReaderGone, put_json, say, styled
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.operations.printable import printable

_NOT_STARTED = (126, 127)
FAILED, USAGE, COULD_NOT_RUN, INTERRUPTED = 1, 2, 125, 130


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """An error and its exit status."""

    error: PyroError
    status: int


def as_failure(error: Exception, words: Sequence[str]) -> Failure:
    """Turn an exception of the command line `words` into an error and a status."""
    if isinstance(error, UsageError):
        return Failure(error, USAGE)
    status = COULD_NOT_RUN if _runs_in_guest(words) else FAILED
    if isinstance(error, PyroError):
        if error.code is ErrorCode.CANCELLED:
            return Failure(error, INTERRUPTED)
        if status == COULD_NOT_RUN and error.details.get("exit_code") in _NOT_STARTED:
            # The guest has no such program, or can't execute it: exit with the status that shells use.
            status = int(str(error.details["exit_code"]))
        return Failure(error, status)
    if isinstance(error, OSError):
        return Failure(from_os_error(error, f"use {error.filename}" if error.filename else "go on"), status)
    unexpected = PyroError(
        ErrorCode.INTERNAL,
        f"internal error: {type(error).__name__}: {error}",
        hint="Please report it, with the output of PYRO_DEBUG=1.",
    )
    return Failure(unexpected, status)


def _runs_in_guest(words: Sequence[str]) -> bool:
    """Return whether the exit status is that of a guest's command, so that pyro's own failure needs a separate one."""
    from pyro_mcp.operations.fields import Place, parameters
    from pyro_mcp.operations.table import find_command

    operation = find_command(words)
    if operation is None or operation.is_detached:
        return False
    return any(each.place is Place.COMMAND for each in parameters(operation.request))


def report(error: PyroError, words: Sequence[str]) -> None:
    """Print the error: as the one JSON document if the command line asked for JSON, else for a person."""
    from pyro_mcp.cli.parsing import wants_json

    if wants_json(list(words)):
        try:
            put_json({"ok": False, "error": error.to_json()})
        except (ReaderGone, PyroError):
            say(error_text(error))
    else:
        say(error_text(error))


def error_text(error: PyroError) -> str:
    """Return the error as text for a person, without control characters of a guest or a file."""
    text = f"{styled('error:', '31', STDERR)} {printable(error.message)}"
    return f"{text}\n{styled('hint:', '36', STDERR)}  {printable(error.hint)}" if error.hint else text
