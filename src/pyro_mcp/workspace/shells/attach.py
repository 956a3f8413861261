"""Attach a user's terminal to a shell.

The shell keeps running after detaching; it is removed only if it was opened for this and has exited.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.shells import GuestShells
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.protocol import shells as limits
from pyro_mcp.workspace.shells.guarding import AttachedFilter
from pyro_mcp.workspace.shells.keyboard import Keyboard
from pyro_mcp.workspace.shells.plain import beginning
from pyro_mcp.workspace.shells.shell import ShellSpec, open_in, shells_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.shells.person import PersonTerminal
    from pyro_mcp.workspace.shells.shell import ShellsUse

#: Ctrl-]
DETACH_KEY = 0x1D


@dataclass(frozen=True, slots=True)
class Attached:
    """The result of an attachment. `exit_code` is None for a shell that keeps running."""

    workspace_id: str
    shell_id: str
    exit_code: int | None


def attach_shell(
    engine: Engine,
    handle: str,
    shell_id: str | None,
    terminal: PersonTerminal,
    *,
    detach_key: int = DETACH_KEY,
    on_begin: Callable[[str], None] | None = None,
    spec: ShellSpec | None = None,
) -> Attached:
    """Attach a user's terminal to a shell, by default a new one, until it exits or the user detaches.

    `on_begin` gets the shell's id before its first output. `spec` is that of a new shell; its command is ended if this
    call is interrupted.

    Raises:
        PyroError: NOT_FOUND; as `guest_of`. The terminal is restored then.
    """
    with shells_of(engine, handle, activity=True, starts=shell_id is None) as use:
        cols, rows = terminal.size()
        is_new = shell_id is None
        if shell_id is None:
            shell_id = open_in(engine, use, replace(spec or ShellSpec(), cols=cols, rows=rows)).info.shell
            cursor = 0
        else:
            cursor = _picture_start(use, shell_id)
        if on_begin is not None:
            on_begin(shell_id)
        try:
            _Attachment(engine, use, shell_id, terminal).carry(cursor, detach_key)
        except BaseException:
            if spec is not None and spec.command is not None:
                with suppress(PyroError):
                    use.shells.close(shell_id)
            raise
        found = [each for each in use.shells.list() if each.shell == shell_id]
        exit_code = found[0].exit_code if found else None
        if is_new and exit_code is not None:
            use.shells.close(shell_id)
        return Attached(use.workspace.id, shell_id, exit_code)


def _picture_start(use: ShellsUse, shell_id: str) -> int:
    """Return the offset from which the output redraws the current screen."""
    end = use.shells.read(shell_id, 0, max_bytes=1).info.end
    output = use.shells.read(shell_id, end, max_bytes=1, context_bytes=limits.CONTEXT_BYTES)
    # Each byte as a character: only the positions of control sequences matter.
    return output.start - len(output.context) + beginning(output.context.decode("latin-1"))


class _Attachment:
    """One terminal attached to one shell."""

    def __init__(self, engine: Engine, use: ShellsUse, shell_id: str, terminal: PersonTerminal) -> None:
        self._use = use
        self._shell_id = shell_id
        self._terminal = terminal
        self._filter = AttachedFilter()
        self._redacted: Callable[[bytes], bytes] = bytes
        if use.workspace.secrets:
            from pyro_mcp.workspace.secrets.keeping import redactor_for

            stream = redactor_for(engine.paths, use.workspace).stream()
            # Each key must be echoed when it is pressed, even if a value begins with it.
            self._redacted = lambda data: stream.feed(data) + stream.settle()

    def carry(self, cursor: int, detach_key: int) -> None:
        """Forward keys to the shell and output to the terminal."""
        cancel = CancelToken()
        with ExitStack() as stack:
            # A second session: the first one is busy with the streams.
            sizes = GuestShells(stack.enter_context(self._use.guest.session(use=LaneUse.COMMAND)))

            def resize() -> None:
                # If the shell has just exited or the guest is gone, the streams report it.
                with suppress(PyroError):
                    sizes.resize(self._shell_id, *self._terminal.size())

            # The keyboard's descriptors must outlive the signal handlers that use them.
            keyboard = stack.enter_context(Keyboard(self._terminal.stdin, detach_key, cancel, resize))
            stack.enter_context(self._terminal.raw(keyboard.resized, self._filter.restoring))
            stack.enter_context(keyboard.reading())
            keyboard.resized()
            session = stack.enter_context(self._use.guest.session(use=LaneUse.COMMAND))
            try:
                GuestShells(session, cancel=cancel).attach(
                    self._shell_id, cursor, stdin=keyboard.fd, on_data=self._show, on_skip=self._report_skipped
                )
            except PyroError as error:
                if error.code is not ErrorCode.CANCELLED or not keyboard.is_detached:
                    raise

    def _show(self, data: bytes) -> None:
        self._terminal.write(self._filter.feed(self._redacted(data)))

    def _report_skipped(self, count: int) -> None:
        self._terminal.write(f"\r\n[pyro: {count} bytes of output arrived too fast and are not shown]\r\n".encode())
