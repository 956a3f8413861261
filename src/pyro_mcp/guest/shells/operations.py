"""Operations on shells and other interactive programs, each on a terminal that outlives the session that opened it.

When a shell is closed, every process that it started is killed.
"""

from __future__ import annotations

import os
import signal
import struct
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest import terminals
from pyro_mcp.guest.answers import Answer, OperationTable
from pyro_mcp.guest.detached import discard
from pyro_mcp.guest.processes.process import failure_of, launch
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.shells.shell import Shell
from pyro_mcp.guest.shells.views import Attachment, Reading
from pyro_mcp.protocol import shells, wire

if TYPE_CHECKING:
    from pyro_mcp.guest.conversation import Conversation
    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.protocol.documents import Document

_EXEC = struct.Struct(wire.EXEC_FORMAT)
_PROGRAMS = (b"bash", b"sh")
_TERM = b"TERM=xterm-256color"
# The markers around pasted text, for programs that have enabled bracketed paste.
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"


class Shells(OperationTable):
    """The shells of a guest."""

    kind = "shell"

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

    def _open(self, session: Conversation, ident: int, document: Document) -> None:
        name = str(document["shell"])
        cols, rows = _size(document)
        if name in self._shells:
            raise RefusalError(wire.CONFLICT, "a shell with that name already exists")
        if len(self._shells) >= shells.MAX_SHELLS:
            raise RefusalError(wire.TOO_MANY_SHELLS, f"{len(self._shells)} shells are already open")
        process, controlling = self._launched(document)
        loop = self._machine.loop
        terminal = terminals.Terminal(loop, controlling, cols, rows)
        shell = Shell(name, process, terminal, loop, cwd=str(document.get("cwd", "/workspace")))
        self._shells[name] = shell
        # If the caller disconnects before the answer, the shell is not needed.
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
            # Not earlier: only now is it certain that the request was read.
            process.pipes.close_all()

        loop.add(process.pipes.error, on_started)
        loop.later(self._machine.standby.replenish)

    def _launched(self, document: Document) -> tuple[Process, int]:
        variables = cast("dict[str, str]", document.get("env") or {})
        argv = [_bytes(each) for each in cast("list[object]", document.get("argv") or [])]
        user = cast("str", document.get("user") or "")
        flags = wire.EXEC_TERMINAL | (wire.EXEC_USER if user else 0) | (wire.EXEC_PROGRAM if argv else 0)
        flags |= wire.EXEC_LINE if argv and document.get("line") is True else 0
        texts = [_bytes(document.get("cwd", "/workspace")), *(argv or _PROGRAMS), _TERM]
        texts += [_bytes(f"{name}={value}") for name, value in variables.items()] + [_bytes(user)] * bool(user)
        for is_last_attempt in (False, True):
            process = self._machine.standby.take().surrender()
            controlling = -1
            try:
                controlling = self._machine.open_terminal()
                header = _EXEC.pack(0, flags, len(argv or _PROGRAMS), 1 + len(variables))
                terminal = terminals.name_of(controlling).encode()
                launch(process, header + b"".join(text + b"\0" for text in (*texts, terminal)))
            except (RefusalError, OSError) as error:
                if controlling >= 0:
                    os.close(controlling)
                discard(self._machine.loop, process)
                # The workload may have killed the process while it waited.
                if is_last_attempt or not isinstance(error, BrokenPipeError):
                    raise
                continue
            # The program uses only its terminal.
            process.pipes.close("request", "stdin", "stdout", "stderr", "stdout_theirs", "stderr_theirs")
            return process, controlling
        raise AssertionError

    def _drop(self, shell: Shell) -> None:
        """Remove a shell, kill it, and clean up when its program has ended."""
        if self._shells.get(shell.name) is shell:
            del self._shells[shell.name]
        for view in shell.views.copy():
            view.on_change()
        shell.kill()
        shell.end(shell.clear_away)

    def _read(self, session: Conversation, ident: int, document: Document) -> None:
        Reading(self._shell(document), session, ident, self._machine.loop, document)

    def _attach(self, session: Conversation, ident: int, document: Document) -> None:
        Attachment(self._shell(document), session, ident, document)

    def _write(self, session: Conversation, ident: int, document: Document) -> None:
        shell = self._shell(document)
        text, pasted = str(document["input"]), cast("int", document.get("paste", 0))
        if pasted and shell.terminal.takes_pastes:
            text = f"{_PASTE}{text[:pasted]}{_PASTED}{text[pasted:]}"
        shell.terminal.write(_bytes(text))
        session.reply(ident, shell.report())

    def _signal(self, session: Conversation, ident: int, document: Document) -> None:
        shell = self._shell(document)
        name = str(document["signal"])
        if name not in shells.SIGNALS:
            raise RefusalError(wire.BAD_REQUEST, f"unsupported signal: {name!r}")
        if shell.exit_code is not None:
            raise RefusalError(wire.SHELL_EXITED, "the shell has exited")
        shell.terminal.signal_foreground(signal.Signals[f"SIG{name}"])
        session.reply(ident, shell.report())

    def _resize(self, session: Conversation, ident: int, document: Document) -> None:
        shell = self._shell(document)
        shell.terminal.resize(*_size(document))
        session.reply(ident, shell.report())

    def _close(self, session: Conversation, ident: int, document: Document) -> None:
        shell = self._shell(document)
        was_running = shell.exit_code is None
        answer = Answer(session, ident)

        def done() -> None:
            if self._shells.get(shell.name) is shell:
                del self._shells[shell.name]
                shell.clear_away()
            answer.give({**shell.report(), "was_running": was_running})

        shell.end(done)

    def _list(self, session: Conversation, ident: int, document: Document) -> None:
        del document
        session.reply(ident, {"shells": [shell.report() for shell in self._shells.values()]})

    def _shell(self, document: Document) -> Shell:
        shell = self._shells.get(cast("str", document.get("shell")))
        if shell is None:
            raise RefusalError(wire.NO_SUCH_SHELL, "there is no such shell")
        return shell


def _bytes(text: object) -> bytes:
    """Encode text from the host, in which surrogates represent bytes that are not UTF-8."""
    return str(text).encode("utf-8", "surrogateescape")


def _size(document: Document) -> tuple[int, int]:
    cols, rows = cast("int", document["cols"]), cast("int", document["rows"])
    if not (0 < cols <= shells.MAX_COLS and 0 < rows <= shells.MAX_ROWS):
        raise RefusalError(wire.BAD_REQUEST, f"invalid terminal size: {cols} columns, {rows} rows")
    return cols, rows
