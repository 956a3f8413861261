"""Type into a guest's shell and wait for output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyro_mcp.agent.shells import ShellState

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import GuestShells, ShellOutput

SEEN_TIMEOUT_S = 30.0
_READ_BYTES = 256 * 1024
# Output that comes in pieces is looked at again after so long a pause.
_PAUSE_MS = 20


class Typist:
    """Types into one shell; `cursor` is how far it has been read."""

    def __init__(self, shells: GuestShells, name: str) -> None:
        self.shells = shells
        self.name = name
        self.cursor = 0
        self._unread = b""

    def write(self, text: str) -> None:
        self.shells.write(self.name, text)

    def says(self, text: str, expected: str) -> None:
        """Type a text and wait for the expected output; skip everything up to its end."""
        if text:
            self.write(text)
        self.sees(expected)

    def sees(self, expected: str, *, timeout_s: float = SEEN_TIMEOUT_S) -> ShellOutput:
        """Wait until a text is printed after the one seen last."""
        wanted = expected.encode()
        deadline = time.monotonic() + timeout_s
        while True:
            output = self.shells.read(self.name, self.cursor, max_bytes=_READ_BYTES, idle_ms=_PAUSE_MS)
            self.cursor = output.stop
            self._unread = (self._unread if output.start + len(output.data) == self.cursor else b"") + output.data
            found = self._unread.find(wanted)
            if found >= 0:
                self._unread = self._unread[found + len(wanted) :]
                return output
            assert time.monotonic() < deadline, f"{expected!r} did not come: {self._unread[-2000:]!r}"
            assert output.info.state is ShellState.RUNNING or output.data, f"exited: {self._unread[-2000:]!r}"

    def wait_for_exit(self) -> int:
        """Wait until the shell has exited, and return its exit code."""
        output = self.shells.read(self.name, self.cursor, max_bytes=_READ_BYTES, idle_ms=60_000)
        assert output.info.exit_code is not None, output
        return output.info.exit_code


def read_all(shells: GuestShells, name: str, cursor: int = 0) -> bytes:
    """Read all output from a cursor on."""
    data = bytearray()
    while True:
        output = shells.read(name, cursor, max_bytes=_READ_BYTES)
        if not output.data:
            return bytes(data)
        data += output.data
        cursor = output.stop
