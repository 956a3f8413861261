"""Redact the output streams of one command.

When a command is cut off, output still held back is dropped: it may be the beginning of a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.agent import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.workspace.secrets.redactor import Redactor


class RedactedOutput:
    """Redacts a command's output and passes it on."""

    def __init__(self, redactor: Redactor, pass_on: Callable[[Stream, bytes], None]) -> None:
        self._pass_on = pass_on
        self._streams = {stream: redactor.stream() for stream in Stream}

    def take(self, stream: Stream, data: bytes) -> None:
        """Redact the next part of a stream."""
        shown = self._streams[stream].feed(data)
        if shown:
            self._pass_on(stream, shown)

    def finish(self) -> None:
        """Pass on what was held back, after the command has exited."""
        for stream, redacted in self._streams.items():
            rest = redacted.finish()
            if rest:
                self._pass_on(stream, rest)
