"""Shells: terminals in a guest that outlive who opened them, as host and guest speak of them.

Constants only, like `wire`.

The body of a SHELL frame is a JSON object with the operation in `op`. What OPEN, WRITE, SIGNAL, RESIZE, CLOSE and LIST
answer is a RESULT. READ and ATTACH have streams: each frame on stderr is a JSON object, first the report, then (ATTACH)
what was skipped for want of speed; on stdout come bytes of the terminal's output; RESULT ends them. The host's DATA
is what is typed on an attached terminal, EOF means nothing, and CANCEL ends the reading or detaches from the terminal.

Everything that a terminal has put out is counted from 0. The last KEPT_BYTES of it can be read, and with each part
up to CONTEXT_BYTES of what came before it, so that who draws it knows what the screen looked like.
"""

from __future__ import annotations

from typing import Final

#: The feature of an agent that opens what is asked for in place of a shell: `argv` (`line` as EXEC_LINE), `user`.
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

#: Signals for the group of processes in the foreground.
SIGNALS: Final = ("HUP", "INT", "TERM", "KILL")

MAX_SHELLS: Final = 16
KEPT_BYTES: Final = 1024 * 1024
CONTEXT_BYTES: Final = 256 * 1024
MAX_READ_BYTES: Final = 256 * 1024
#: Of what was typed and no program has read.
MAX_PENDING_BYTES: Final = 1024 * 1024
MAX_COLS: Final = 1000
MAX_ROWS: Final = 500
#: How many changes of the size are remembered.
MAX_SIZES: Final = 64
MAX_IDLE_MS: Final = 60_000
MAX_WAIT_MS: Final = 60_000
