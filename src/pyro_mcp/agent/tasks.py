"""Collect a task's answer, within limits, and translate its errors.

The guest's own message is shown only if the host has no better one, and without control characters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

from pyro_mcp.agent.messages import ExecResult, Stream, TaskRequest, breach, decode, printable
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import shown_briefly

_MAX_WORDS_CHARS = 500
_LOOK = "List the files to see what exists."
#: By the guest's error code: our code, the text after the path, and a hint.
_MEANINGS: dict[str, tuple[ErrorCode, str, str]] = {
    tasks.MISSING: (ErrorCode.NOT_FOUND, "does not exist", _LOOK),
    tasks.OUTSIDE: (ErrorCode.INVALID, "leads outside {root}", "Name a file by a path that stays inside it."),
    tasks.IS_DIRECTORY: (ErrorCode.IS_DIRECTORY, "is a directory", "Name a file in it."),
    tasks.NOT_DIRECTORY: (ErrorCode.INVALID, "is not a directory", _LOOK),
    tasks.NOT_FILE: (ErrorCode.INVALID, "is not a regular file", _LOOK),
    tasks.EXISTS: (ErrorCode.CONFLICT, "already exists", "Something else changed it meanwhile: read it again."),
    tasks.BUSY: (ErrorCode.CONFLICT, "is in use", "Run the command again."),
    tasks.NO_SPACE: (ErrorCode.NO_SPACE, "does not fit: its disk is full", "Remove files in the guest."),
    tasks.DENIED: (ErrorCode.PERMISSION, "can't be read or changed", "Check its mode, and that of its directory."),
    tasks.TOO_LARGE: (ErrorCode.TOO_LARGE, "is too large or too deep", "Use a part of it."),
    tasks.BAD_NAME: (ErrorCode.INVALID, "is not a valid file name", "Use another name."),
}


class TaskOutput:
    """The output of a task: its data is passed on as it arrives, its answer is kept."""

    def __init__(self, request: TaskRequest, on_data: Callable[[bytes], None] | None, root: str) -> None:
        self._request = request
        self._on_data = on_data
        self._root = root
        self._answer = bytearray()

    def take(self, stream: Stream, data: bytes) -> None:
        """Handle data received on one stream."""
        if stream is Stream.STDERR:
            self._answer += data
            if len(self._answer) > tasks.MAX_ANSWER_BYTES:
                raise breach("an answer that is too long")
        elif self._on_data is None:
            raise breach("data that was not requested")
        else:
            self._on_data(data)

    def outcome(self, result: ExecResult) -> Document:
        """Return the task's answer.

        Raises:
            PyroError: the failure of the task; TIMEOUT, UNAVAILABLE, PROTOCOL.
        """
        what = self._request.what
        if result.timed_out:
            raise PyroError(
                ErrorCode.TIMEOUT,
                f"the guest could not {what} within {self._request.timeout_s:g} s",
                hint="It may be busy: check its processes.",
            )
        if not self._answer:
            why = "it ran out of memory" if result.oom_killed else "its process ended before it was done"
            raise PyroError(
                ErrorCode.UNAVAILABLE, f"the guest could not {what}: {why}", hint="Check its memory and its console."
            )
        document = decode(bytes(self._answer))
        error, done = document.get("error"), document.get("ok")
        if isinstance(error, dict):
            raise self._error(cast("Document", error))
        if not isinstance(done, dict):
            raise breach("an invalid answer")
        return cast("Document", done)

    def _error(self, error: Document) -> PyroError:
        code, words, path = error.get("code"), error.get("message", ""), error.get("path")
        if not isinstance(code, str) or code not in tasks.ERROR_CODES or not isinstance(words, str):
            raise breach("an error without a known code")
        if path is not None and not isinstance(path, str):
            raise breach("an error with an invalid path")
        words = printable(words, _MAX_WORDS_CHARS)
        details: dict[str, object] = {"task_code": code}
        where = self._root
        if path:
            where = f"{self._root.rstrip('/')}/{shown_briefly(_name(path))}"
            details["path"] = where
        meaning = _MEANINGS.get(code)
        if meaning is not None:
            kind, text, hint = meaning
            return PyroError(kind, f"{where} {text.format(root=self._root)}", hint=hint, details=details)
        kind, hint = _other_meaning(code)
        return PyroError(kind, f"the guest could not {self._request.what}: {words}", hint=hint, details=details)


def _other_meaning(code: str) -> tuple[ErrorCode, str]:
    match code:
        case tasks.BAD_ARCHIVE:
            return ErrorCode.INVALID, "Recreate the archive."
        case tasks.CUT_SHORT:
            return ErrorCode.CANCELLED, "Nothing was changed."
        case tasks.TOO_LONG_FROZEN:
            return ErrorCode.TIMEOUT, f"A workspace is frozen for at most {tasks.MAX_FREEZE_S} s."
        case tasks.UNSUPPORTED:
            return ErrorCode.UNSUPPORTED, ""
        case _:
            return ErrorCode.UNAVAILABLE, "Check its memory, disk and processes."


def _name(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        raise breach("a name that is not valid text") from None
