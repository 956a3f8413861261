"""Services: commands of a guest that outlive who started them, as host and guest speak of them.

Constants only, like `wire`.

The body of a SERVICE frame is a JSON object with the operation in `op`. Each is answered on stderr by one JSON object,
a report or a list of them, then by RESULT; LOGS sends a part of the log on stdout in between, and START the end of
it if the service failed. START is answered when the service is ready or has failed: if the caller is gone by then,
nothing has been started.

PUBLISH goes on until the service ends. It carries many TCP connections to the service's ports, of which the host tells
one from another by numbers that it chooses. Both the host's DATA and the guest's STDOUT begin with MUX (number, word)
then; see the words for what follows. Either side may send WINDOW bytes of a connection before it is given credit.
"""

from __future__ import annotations

from typing import Final

# Operations.
START: Final = "start"
LIST: Final = "list"
LOGS: Final = "logs"
STOP: Final = "stop"
PUBLISH: Final = "publish"

# States of a service.
STARTING: Final = "starting"
RUNNING: Final = "running"
EXITED: Final = "exited"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
STATES: Final = frozenset({STARTING, RUNNING, EXITED, FAILED, STOPPED})

# How a service is found to be ready.
READY_FILE: Final = "file"
READY_TCP: Final = "tcp"
READY_HTTP: Final = "http"
READY_COMMAND: Final = "command"

MAX_SERVICES: Final = 16
#: Of a service's output, so much is kept: the last.
KEPT_BYTES: Final = 4 * 1024 * 1024
#: Of a service that failed, so much of its last output comes with the answer.
TAIL_BYTES: Final = 16 * 1024
MAX_PORTS: Final = 16
#: A service that says nothing about when it is ready is so when it has run for so long.
SETTLE_MS: Final = 200

#: Connection and word.
MUX: Final = "<IB"
# Words. OPEN is followed by the guest's port (u16), DATA by bytes, CREDIT by their number (u32); SHUT says that no
# more bytes come this way, RESET that the connection is no more, either way, and the number free.
OPEN: Final = 1
DATA: Final = 2
SHUT: Final = 3
RESET: Final = 4
CREDIT: Final = 5
#: The guest's first word, about connection 0: connections can be opened.
LISTENING: Final = 6
#: The guest's last word, about connection 0: the service has ended. No connection is opened after it, those that are
#: open are carried to their end.
ENDING: Final = 7
#: How far ahead of the credit each side may be: the guest, and the host.
OUT_WINDOW_BYTES: Final = 256 * 1024
IN_WINDOW_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 256
