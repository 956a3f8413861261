"""Commands that run something in a guest: `pyro run`, `pyro vm exec`, `pyro workspace exec`.

A guest's output never controls the user's terminal: it is filtered for a terminal, and unchanged in a file or pipe.
"""

from __future__ import annotations

import math
import os
import stat
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.streams import STDERR, STDIN, STDOUT, ReaderGone, put_json, say, write
from pyro_mcp.errors import PyroError
from pyro_mcp.host.closing import Closing
from pyro_mcp.host.progress import Silent
from pyro_mcp.model.limits import TIMED_OUT
from pyro_mcp.operations.printable import printable_line
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from typing import Self

    from pyro_mcp.agent import Stream
    from pyro_mcp.cli.parsing import Parsed
    from pyro_mcp.host.progress import Lines
    from pyro_mcp.operations.guest_commands import CommandRequest
    from pyro_mcp.operations.operation import Operation, Result
    from pyro_mcp.operations.printable import TerminalFilter

_END = ("environment", "execution_mode", "exit_code", "duration_ms")
# The command's own output shows that it is alive.
_SHORT_PHASES = frozenset({"create", "start", "execute"})


def execute_in_guest(operation: Operation[Any, Any], parsed: Parsed) -> int:
    """Run a command in a guest, passing its output on; return its exit status."""
    runner = Runner()
    label = operation.cli[-1] if operation.cli else operation.name
    with _Output() as output, PhaseLines(label) as phases:
        call = replace(
            runner.call(),
            progress=Silent() if parsed.json or parsed.quiet else phases,
            on_output=None if parsed.json else output.take,
            stdin=_stdin(operation, parsed),
        )
        result = runner.run(operation, parsed.request, call)
    status = TIMED_OUT if result.timed_out else int(result.exit_code)
    if parsed.json:
        put_json(result)
        return status
    if not parsed.quiet:
        _show_end(operation, label, result)
    if result.network_hint:
        say(printable_line(result.network_hint))
    if result.timed_out:
        say(f"[{label}] {_limit_reached(parsed.request)}")
    return status


def _show_end(operation: Operation[Any, Any], label: str, result: Result) -> None:
    if operation.takes_stdin:
        from pyro_mcp.cli.output.status_lines import show_status_line

        show_status_line(operation.name, result)
    else:
        facts = " ".join(f"{name}={result[name]}" for name in _END)
        say(f"[{label}] {facts}")


def _limit_reached(request: CommandRequest) -> str:
    """Return the message for a command that timed out, with its limit and how to raise it."""
    from pyro_mcp.operations.guest_commands import time_limit

    limit_s = time_limit(request) or 0
    return (
        f"timed out: it was killed after its time limit of {limit_s:g} s;"
        f" --timeout {math.ceil(2 * limit_s)}s gives it more, --timeout none all it takes"
    )


class PhaseLines(Closing):
    """Progress as the documented phase lines on stderr, with periodic updates for phases that may take long."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._lines: Lines | None = None

    def phase(self, name: str, message: str = "") -> None:
        """Print the phase's line."""
        line = printable_line(f"phase={name} {message}".rstrip())
        if name in _SHORT_PHASES:
            self.close()
            say(f"[{self._label}] {line}")
            return
        if self._lines is None:
            from pyro_mcp.host.progress import Lines

            self._lines = Lines(sys.stderr)
        self._lines.phase(self._label, line)

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Store it for the next periodic update."""
        if self._lines is not None:
            self._lines.advance(fraction, printable_line(message))

    def close(self) -> None:
        """Stop the periodic updates."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None


class _Output:
    """Writes the guest's two streams to ours."""

    def __init__(self) -> None:
        self._filters: dict[int, TerminalFilter] = {}
        self._last = b"\n"
        self._terminals = {fd for fd in (STDOUT, STDERR) if os.isatty(fd)}

    def take(self, stream: Stream, data: bytes) -> None:
        """Write the guest's output."""
        fd = STDOUT if stream.value == "stdout" else STDERR
        self._write(fd, self._filter(fd).feed(data) if fd in self._terminals else data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._finish()
        except (ReaderGone, PyroError):
            # An error already raised takes precedence.
            if error is None:
                raise

    def _finish(self) -> None:
        """Write what was held back, and begin a new line on a terminal that shows both streams."""
        for fd, each in self._filters.items():
            self._write(fd, each.finish())
        if STDERR in self._terminals and self._last != b"\n":
            write(STDERR, b"\n")

    def _write(self, fd: int, data: bytes) -> None:
        if data:
            write(fd, data)
            if fd in self._terminals:
                self._last = data[-1:]

    def _filter(self, fd: int) -> TerminalFilter:
        if fd not in self._filters:
            from pyro_mcp.operations.printable import TerminalFilter

            self._filters[fd] = TerminalFilter()
        return self._filters[fd]


def _stdin(operation: Operation[Any, Any], parsed: Parsed) -> int | None:
    """Return our stdin if requested, or if it is a file, a pipe or a socket."""
    if operation.takes_stdin:
        return STDIN if parsed.stdin else None
    mode = os.fstat(STDIN).st_mode
    return STDIN if stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
