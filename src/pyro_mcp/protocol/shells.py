"""Protocol of shells: guest terminals that outlive the session that opened them.

Constants only, like `wire`.

The body of a SHELL frame is a JSON object with the operation in `op`. OPEN, WRITE, SIGNAL, RESIZE, CLOSE and LIST are
answered by RESULT alone. READ and ATTACH stream: each frame on stderr is a JSON object, first the report, then (ATTACH)
the number of bytes skipped because the host was too slow; stdout carries the terminal's output; RESULT ends both. The
host's DATA is input typed on an attached terminal, EOF has no meaning, and CANCEL ends the read or detaches.

Output is addressed by byte offset, from 0. The last KEPT_BYTES can be read, each part together with up to CONTEXT_BYTES
that precede it, so that the reader can reconstruct the screen.
"""

from __future__ import annotations

from typing import Final

#: Feature: OPEN accepts a program to run instead of a shell: `argv` (with `line`, like EXEC_LINE), and `user`.
PROGRAMS: Final = "programs"

# Operations.
OPEN: Final = "open"
READ: Final = "read"
ATTACH: Final = "attach"
WRITE: Final = "write"
SIGNAL: Final = "signal"
RESIZE: Final = "resize"
CLOSE: Final = "close"
LIST: Final = "list"

# States of a shell.
RUNNING: Final = "running"
EXITED: Final = "exited"

#: Signals that can be sent to the foreground process group.
SIGNALS: Final = ("HUP", "INT", "TERM", "KILL")

MAX_SHELLS: Final = 16
KEPT_BYTES: Final = 1024 * 1024
CONTEXT_BYTES: Final = 256 * 1024
MAX_READ_BYTES: Final = 256 * 1024
#: The limit for input that no program has read yet.
MAX_PENDING_BYTES: Final = 1024 * 1024
MAX_COLS: Final = 1000
MAX_ROWS: Final = 500
#: How many size changes are kept.
MAX_SIZES: Final = 64
MAX_IDLE_MS: Final = 60_000
MAX_WAIT_MS: Final = 60_000
