"""Open, read, write, signal, attach to and close a guest's shells.

Answers are not trusted: numbers are bounded, output must have the announced offset and length, and the guest's own
messages are not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from pyro_mcp.agent.answers import MAX_NAME_CHARS, ResultReader, exit_code, number, objects, text
from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.exchange import Input
from pyro_mcp.agent.messages import DocumentRequest, Stream, breach, decode
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import shells, wire
from pyro_mcp.protocol.documents import Document

TIMEOUT_S = 15.0
# An attached user may be idle for a long time.
ATTACH_TIMEOUT_S = 365 * 86_400.0
_MAX_COUNT = 1 << 60
_MAX_PATH_CHARS = 4096
# In a bracketed paste, such a character would be text rather than a key.
_KEY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class ShellState(StrEnum):
    """Whether a shell's program is still running."""

    RUNNING = "running"
    STOPPED = "stopped"


class ShellSignal(StrEnum):
    """A signal that can be sent to a shell's foreground process group."""

    HUP = "HUP"
    INT = "INT"
    TERM = "TERM"
    KILL = "KILL"


@dataclass(frozen=True, slots=True)
class ShellInfo:
    """A shell, as described by its guest, with times by the guest's clock. Output before `first` was dropped."""

    shell: str
    state: ShellState
    exit_code: int | None
    first: int
    end: int
    cols: int
    rows: int
    cwd: str = ""
    started_at: float = 0.0
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class ShellSize:
    """The size of a terminal from byte `since` of its output on."""

    since: int
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class ShellOutput:
    """A part of a shell's output: `data`, from byte `start` on, and the `context` immediately before it."""

    info: ShellInfo
    start: int
    data: bytes
    context: bytes
    sizes: tuple[ShellSize, ...]

    @property
    def stop(self) -> int:
        """Return the start of the next part."""
        return self.start + len(self.data)


class GuestShells:
    """The shells of a session's guest. They outlive the session."""

    def __init__(self, session: AgentSession, *, cancel: CancelToken | None = None) -> None:
        self._session = session
        self._cancel = cancel

    def open(
        self,
        shell: str,
        *,
        cwd: str,
        cols: int,
        rows: int,
        env: Mapping[str, str],
        user: str = "",
        argv: tuple[str, ...] = (),
        is_line: bool = False,
    ) -> ShellInfo:
        """Open a shell with an unused name, in a directory, on a terminal of the given size.

        With `argv`, that program is run instead of a shell; `is_line` is as in `ExecRequest`. The default `user` is
        root.

        Raises:
            PyroError: NOT_FOUND if the directory or a shell does not exist; CONFLICT if too many are open; TIMEOUT,
                GUEST_LOST, PROTOCOL.
        """
        fields: dict[str, object] = {"op": shells.OPEN, "shell": shell, "cwd": cwd, "cols": cols, "rows": rows}
        fields |= {"env": dict(env), "user": user} | ({"argv": list(argv), "line": is_line} if argv else {})
        if user:
            self._session.require(wire.USERS_OF_ALL, "run as another user")
        if argv:
            self._session.require(shells.PROGRAMS, "run on a terminal")
        what = f"run {argv[0][:MAX_NAME_CHARS]!r}" if argv and not is_line else "open a shell"
        return self._asked(shell, fields, f"{what} in {cwd[:MAX_NAME_CHARS]!r}")

    def list(self) -> tuple[ShellInfo, ...]:
        """List the shells, oldest first.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        document = self._session.ask(DocumentRequest(wire.SHELL, "list its shells", TIMEOUT_S, {"op": shells.LIST}))
        return tuple(_info(each) for each in objects(document, "shells", most=shells.MAX_SHELLS))

    def write(self, shell: str, text: str, *, enter: bool = False) -> ShellInfo:
        """Type a text, followed by Enter if `enter`. Line breaks are sent as Enter.

        Several lines without other control characters are sent as a bracketed paste if the program supports it.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if the shell has exited or does not read its input; TIMEOUT, GUEST_LOST,
                PROTOCOL.
        """
        keys = text.replace("\r\n", "\r").replace("\n", "\r")
        block = keys.rstrip("\r")
        is_block = "\r" in block and not _KEY.search(block)
        fields = {
            "op": shells.WRITE,
            "shell": shell,
            "input": keys + "\r" * enter,
            "paste": len(block) if is_block else 0,
        }
        return self._asked(shell, fields, f"write to the shell {shell}")

    def signal(self, shell: str, number: ShellSignal) -> ShellInfo:
        """Signal the foreground process group.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if the shell has exited; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        return self._asked(
            shell, {"op": shells.SIGNAL, "shell": shell, "signal": number.value}, f"signal the shell {shell}"
        )

    def resize(self, shell: str, cols: int, rows: int) -> ShellInfo:
        """Change the size of the terminal.

        Raises:
            PyroError: NOT_FOUND; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        fields = {"op": shells.RESIZE, "shell": shell, "cols": cols, "rows": rows}
        return self._asked(shell, fields, f"resize the terminal of the shell {shell}")

    def close(self, shell: str) -> ShellInfo:
        """End a shell and every process that it started, drop its output, and return how it ended.

        Raises:
            PyroError: NOT_FOUND; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        return self._asked(shell, {"op": shells.CLOSE, "shell": shell}, f"close the shell {shell}")

    def read(
        self, shell: str, cursor: int, *, max_bytes: int, context_bytes: int = 0, idle_ms: int = 0, wait_ms: int = 0
    ) -> ShellOutput:
        """Read at most `max_bytes` of the output from `cursor` on, or from the first byte that is still kept.

        With `idle_ms`, wait until the output has paused for that long, the shell exits, or `wait_ms` have passed.

        Raises:
            PyroError: NOT_FOUND; INVALID for a cursor beyond the output; CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        fields = {
            "op": shells.READ,
            "shell": shell,
            "cursor": cursor,
            "max_bytes": max_bytes,
            "context_bytes": context_bytes,
            "idle_ms": idle_ms,
            "wait_ms": wait_ms or shells.MAX_WAIT_MS,
        }
        reader = ResultReader(shells.CONTEXT_BYTES + shells.MAX_READ_BYTES)
        timeout_s = TIMEOUT_S + (shells.MAX_WAIT_MS / 1000 if idle_ms else 0)
        request = DocumentRequest(wire.SHELL, f"read the shell {shell}", timeout_s, fields)
        self._session.stream(request, on_output=reader.take, cancel=self._cancel)
        return _output(reader, shell, cursor, max_bytes, context_bytes)

    def attach(
        self, shell: str, cursor: int, *, stdin: Input, on_data: Callable[[bytes], None], on_skip: Callable[[int], None]
    ) -> None:
        """Pass `stdin` to the shell and its output to `on_data`, until the shell exits.

        `on_skip` is called with the number of bytes lost because they were not read fast enough.

        Raises:
            PyroError: NOT_FOUND; CANCELLED, in which case the shell continues; TIMEOUT, GUEST_LOST, PROTOCOL.
        """

        def take(stream: Stream, data: bytes) -> None:
            if stream is Stream.STDOUT:
                on_data(data)
                return
            document = decode(data)
            if "skipped" in document:
                on_skip(number(document, "skipped"))
            elif _info(document).shell != shell:
                raise breach("a report on a different shell")

        fields = {"op": shells.ATTACH, "shell": shell, "cursor": cursor}
        request = DocumentRequest(wire.SHELL, f"attach to the shell {shell}", ATTACH_TIMEOUT_S, fields)
        self._session.stream(request, stdin=stdin, on_output=take, cancel=self._cancel)

    def _asked(self, shell: str, fields: Mapping[str, object], what: str) -> ShellInfo:
        info = _info(self._session.ask(DocumentRequest(wire.SHELL, what, TIMEOUT_S, fields)))
        if info.shell != shell:
            raise breach("a report on a different shell")
        return info


def _output(reader: ResultReader, shell: str, cursor: int, max_bytes: int, context_bytes: int) -> ShellOutput:
    """Validate and return what was read."""
    report = reader.document
    info = _info(report)
    context, start, stop = (number(report, name) for name in ("context", "start", "stop"))
    if info.shell != shell or not context <= start <= stop <= info.end:
        raise breach("output that was not requested")
    if stop - start > max_bytes or start - context > context_bytes or len(reader.data) != stop - context:
        raise breach("more or less of a shell's output than it announced")
    if start < cursor:
        raise PyroError(
            ErrorCode.INVALID,
            f"the cursor {cursor} is beyond the end of the shell's output, {info.end}",
            hint="Continue from the next_cursor of the last read.",
        )
    data = bytes(reader.data)
    split = start - context
    return ShellOutput(info, start, data[split:], data[:split], _sizes(report))


def _info(document: Document) -> ShellInfo:
    if document.get("state") not in (shells.RUNNING, shells.EXITED):
        raise breach("a shell with an unknown state")
    state = ShellState.RUNNING if document["state"] == shells.RUNNING else ShellState.STOPPED
    first, end = number(document, "first"), number(document, "end")
    info = ShellInfo(
        shell=text(document, "shell"),
        state=state,
        exit_code=exit_code(document, runs=state is ShellState.RUNNING),
        first=min(first, end),
        end=end,
        cols=number(document, "cols", most=shells.MAX_COLS),
        rows=number(document, "rows", most=shells.MAX_ROWS),
        cwd=text({"cwd": "", **document}, "cwd", most=_MAX_PATH_CHARS),
        started_at=number({"started_ms": 0, **document}, "started_ms") / 1000,
        ended_at=None if document.get("ended_ms") is None else number(document, "ended_ms") / 1000,
    )
    if not info.cols or not info.rows or first > end + shells.CONTEXT_BYTES:
        raise breach("a shell with an invalid size or output range")
    return info


def _sizes(report: Document) -> tuple[ShellSize, ...]:
    found = report.get("sizes")
    if not isinstance(found, list) or not 0 < len(cast("list[object]", found)) <= shells.MAX_SIZES:
        raise breach("a terminal without a size")
    sizes: list[ShellSize] = []
    for each in cast("list[object]", found):
        values = cast("list[object]", each) if isinstance(each, list) else []
        if len(values) != 3 or not all(type(value) is int and value >= 0 for value in values):
            raise breach("an invalid terminal size")
        since, cols, rows = cast("list[int]", values)
        is_later = not sizes or since >= sizes[-1].since
        if not (is_later and since < _MAX_COUNT and 0 < cols <= shells.MAX_COLS and 0 < rows <= shells.MAX_ROWS):
            raise breach("a terminal size out of range")
        sizes.append(ShellSize(since, cols, rows))
    return tuple(sizes)
