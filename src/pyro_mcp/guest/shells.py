"""Shells: a program at a terminal each, which stays when whoever opened it goes.

Owns the table of them, what is asked about them, and that each ends with all it started. Refuses to hold more of them,
or more of their output, than the limits allow.
"""

from __future__ import annotations

import os
import signal
import struct
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest import terminals
from pyro_mcp.guest.process import failure_of, launch
from pyro_mcp.guest.spawner import RefusalError
from pyro_mcp.guest.views import Attachment, Reading, View
from pyro_mcp.protocol import shells, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Deadline, Loop
    from pyro_mcp.guest.operations import Machine
    from pyro_mcp.guest.process import Process
    from pyro_mcp.guest.session import Session
    from pyro_mcp.guest.terminals import Terminal
    from pyro_mcp.protocol.documents import Document

_EXEC = struct.Struct(wire.EXEC_FORMAT)
_PROGRAMS = (b"bash", b"sh")
_TERM = b"TERM=xterm-256color"
# What a closed shell may take to end by itself.
_HANG_UP_S = 1.0


class Nothing:
    """Where DATA goes that nobody asked for."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Forget it."""

    def end(self) -> None:
        """Do nothing."""


class Answer:
    """A request about a shell that is answered later. Whoever asked may be gone by then."""

    stdin = Nothing()

    def __init__(self, session: Session, ident: int, when_abandoned: Callable[[], None] | None = None) -> None:
        self._session: Session | None = session
        self._ident = ident
        self._when_abandoned = when_abandoned
        session.begin(ident, self)

    def give(self, document: Document) -> None:
        """Answer."""
        session, self._session = self._session, None
        if session is not None:
            session.answered(self._ident)
            session.reply(self._ident, document)

    def refuse(self, refusal: RefusalError) -> None:
        """Answer that it can't be done."""
        session, self._session = self._session, None
        if session is not None:
            session.answered(self._ident)
            session.fail(self._ident, refusal)

    def credit(self, stream: int, count: int) -> None:
        """Do nothing: there are no streams."""

    def cancel(self) -> None:
        """Do nothing: it won't take long."""

    def abandon(self) -> None:
        """Forget who asked."""
        self._session = None
        if self._when_abandoned is not None:
            self._when_abandoned()


class Shell:
    """A program at a terminal, from the moment that it is asked for until nothing is left of it."""

    def __init__(self, name: str, process: Process, terminal: Terminal, loop: Loop) -> None:
        self.name = name
        self.terminal = terminal
        self.exit_code: int | None = None
        self.views: list[View] = []
        self.when_exited: list[Callable[[], None]] = []
        self._process = process
        self._loop = loop
        self._deadline: Deadline | None = None
        terminal.on_output = self.notify
        loop.add(process.exit_fd, self._on_exit)

    @property
    def state(self) -> str:
        """Return what it is."""
        return shells.RUNNING if self.exit_code is None else shells.EXITED

    def report(self) -> Document:
        """Return what is known of it."""
        terminal = self.terminal
        _, cols, rows = terminal.sizes[-1]
        return {
            "shell": self.name,
            "state": self.state,
            "exit_code": self.exit_code,
            "first": terminal.readable_start,
            "end": terminal.end,
            "cols": cols,
            "rows": rows,
        }

    def notify(self) -> None:
        """Tell whoever looks at it that something has changed."""
        for view in self.views.copy():
            view.on_change()

    def end(self, when_ended: Callable[[], None]) -> None:
        """Hang up, and kill what is left after a moment; `when_ended` is called when the program is gone."""
        if self.exit_code is not None:
            when_ended()
            return
        self.when_exited.append(when_ended)
        if self._deadline is None:
            self.terminal.signal_foreground(signal.SIGHUP)
            self.terminal.close()
            self._deadline = self._loop.at(_HANG_UP_S, self._process.kill)

    def kill(self) -> None:
        """Kill the program and all that it has started."""
        self._process.kill()

    def clear_away(self) -> None:
        """Kill what a program that has ended has left, and give back what is held of it."""
        self._process.kill()
        self.terminal.close()
        if self._process.pipes.error >= 0:
            self._loop.remove(self._process.pipes.error)
        self._process.close()

    def _on_exit(self, mask: int) -> None:
        del mask
        self._loop.remove(self._process.exit_fd)
        self.exit_code = self._process.status()
        if self._deadline is not None:
            self._loop.cancel(self._deadline)
            self._deadline = None
        # Its last words are in the terminal already.
        self.terminal.drain()
        self.notify()
        waiting, self.when_exited = self.when_exited, []
        for call in waiting:
            call()


class Shells:
    """The shells of a guest."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._shells: dict[str, Shell] = {}
        self._table = {
            shells.OPEN: self._open,
            shells.READ: self._read,
            shells.ATTACH: self._attach,
            shells.WRITE: self._write,
            shells.SIGNAL: self._signal,
            shells.RESIZE: self._resize,
            shells.CLOSE: self._close,
            shells.LIST: self._list,
        }

    def perform(self, session: Session, ident: int, document: Document) -> None:
        """Do what a SHELL frame asks for, and answer, now or later.

        Raises:
            RefusalError, OSError: if it can't be done.
        """
        operation = self._table.get(cast("str", document.get("op")))
        if operation is None:
            raise RefusalError(wire.UNSUPPORTED, f"the agent does not know the shell operation {document.get('op')!r}")
        operation(session, ident, document)

    def _open(self, session: Session, ident: int, document: Document) -> None:
        name = str(document["shell"])
        cols, rows = _size(document)
        if name in self._shells:
            raise RefusalError(wire.CONFLICT, "there is a shell of that name")
        if len(self._shells) >= shells.MAX_SHELLS:
            raise RefusalError(wire.TOO_MANY_SHELLS, f"there are {len(self._shells)} shells")
        process, controlling = self._launched(document)
        loop = self._machine.loop
        shell = Shell(name, process, terminals.Terminal(loop, controlling, cols, rows), loop)
        self._shells[name] = shell
        # Whoever opens it and does not live to hear of it has no use for it.
        answer = Answer(session, ident, lambda: self._drop(shell))

        def on_started(mask: int) -> None:
            del mask
            loop.remove(process.pipes.error)
            failure = failure_of(process)
            if failure is not None:
                self._drop(shell)
                answer.refuse(failure)
            else:
                answer.give(shell.report())
            # Only now is it certain that the request was read.
            process.pipes.close_all()

        loop.add(process.pipes.error, on_started)
        loop.later(self._machine.standby.replenish)

    def _launched(self, document: Document) -> tuple[Process, int]:
        variables = cast("dict[str, str]", document.get("env") or {})
        texts = [_bytes(document.get("cwd", "/workspace")), *_PROGRAMS, _TERM]
        texts += [_bytes(f"{name}={value}") for name, value in variables.items()]
        for is_last_attempt in (False, True):
            process = self._machine.standby.take().surrender()
            controlling = -1
            try:
                controlling = self._machine.open_terminal()
                header = _EXEC.pack(0, wire.EXEC_TERMINAL, len(_PROGRAMS), 1 + len(variables))
                terminal = terminals.name_of(controlling).encode()
                launch(process, header + b"".join(text + b"\0" for text in (*texts, terminal)))
            except (RefusalError, OSError) as error:
                if controlling >= 0:
                    os.close(controlling)
                self._discard(process)
                # The workload may have killed the process while it waited.
                if is_last_attempt or not isinstance(error, BrokenPipeError):
                    raise
                continue
            # Its own terminal is all that it has.
            process.pipes.close("request", "stdin", "stdout", "stderr", "stdout_theirs", "stderr_theirs")
            return process, controlling
        raise AssertionError

    def _discard(self, process: Process) -> None:
        loop = self._machine.loop

        def on_exit(mask: int) -> None:
            del mask
            loop.remove(process.exit_fd)
            process.status()
            process.close()

        loop.add(process.exit_fd, on_exit)
        process.kill()

    def _drop(self, shell: Shell) -> None:
        """Forget a shell; what is left of it is cleared away when its program is gone."""
        if self._shells.get(shell.name) is shell:
            del self._shells[shell.name]
        for view in shell.views.copy():
            view.on_change()
        shell.kill()
        shell.end(shell.clear_away)

    def _read(self, session: Session, ident: int, document: Document) -> None:
        Reading(self._shell(document), session, ident, self._machine.loop, document)

    def _attach(self, session: Session, ident: int, document: Document) -> None:
        Attachment(self._shell(document), session, ident, document)

    def _write(self, session: Session, ident: int, document: Document) -> None:
        shell = self._shell(document)
        shell.terminal.write(_bytes(document["input"]))
        session.reply(ident, shell.report())

    def _signal(self, session: Session, ident: int, document: Document) -> None:
        shell = self._shell(document)
        name = str(document["signal"])
        if name not in shells.SIGNALS:
            raise RefusalError(wire.BAD_REQUEST, f"the signal {name!r} is not sent")
        if shell.exit_code is not None:
            raise RefusalError(wire.SHELL_EXITED, "the shell has exited")
        shell.terminal.signal_foreground(signal.Signals[f"SIG{name}"])
        session.reply(ident, shell.report())

    def _resize(self, session: Session, ident: int, document: Document) -> None:
        shell = self._shell(document)
        shell.terminal.resize(*_size(document))
        session.reply(ident, shell.report())

    def _close(self, session: Session, ident: int, document: Document) -> None:
        shell = self._shell(document)
        was_running = shell.exit_code is None
        answer = Answer(session, ident)

        def done() -> None:
            if self._shells.get(shell.name) is shell:
                del self._shells[shell.name]
                shell.clear_away()
            answer.give({**shell.report(), "was_running": was_running})

        shell.end(done)

    def _list(self, session: Session, ident: int, document: Document) -> None:
        del document
        session.reply(ident, {"shells": [shell.report() for shell in self._shells.values()]})

    def _shell(self, document: Document) -> Shell:
        shell = self._shells.get(cast("str", document.get("shell")))
        if shell is None:
            raise RefusalError(wire.NO_SUCH_SHELL, "there is no such shell")
        return shell


def _bytes(text: object) -> bytes:
    """Return what the host wrote as text, where bytes that are no UTF-8 stand as surrogates."""
    return str(text).encode("utf-8", "surrogateescape")


def _size(document: Document) -> tuple[int, int]:
    cols, rows = cast("int", document["cols"]), cast("int", document["rows"])
    if not (0 < cols <= shells.MAX_COLS and 0 < rows <= shells.MAX_ROWS):
        raise RefusalError(wire.BAD_REQUEST, f"a terminal can't have {cols} columns and {rows} rows")
    return cols, rows
