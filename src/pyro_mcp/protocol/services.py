"""Protocol of services: guest commands that outlive the session that started them.

Constants only, like `wire`.

The body of a SERVICE frame is a JSON object with the operation in `op`. The reply is one JSON object on stderr, a
report or a list of reports, followed by RESULT. Between the two, LOGS sends part of the log on stdout, and START sends
the end of it if the service failed. START is answered when the service is ready or has failed; if the caller
disconnects before that, the service is killed.

PUBLISH lasts until the service ends. It multiplexes TCP connections to the service's ports, identified by numbers that
the host chooses. The host's DATA and the guest's STDOUT then begin with MUX (connection number, message type), followed
by what the message types below describe. Either side may send a window's worth of bytes on a connection before it
receives credit.
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

# Kinds of readiness checks.
READY_FILE: Final = "file"
READY_TCP: Final = "tcp"
READY_HTTP: Final = "http"
READY_COMMAND: Final = "command"

MAX_SERVICES: Final = 16
#: How much of the end of a service's output is kept.
KEPT_BYTES: Final = 4 * 1024 * 1024
#: How much of the end of its output the reply includes if a service failed.
TAIL_BYTES: Final = 16 * 1024
MAX_PORTS: Final = 16
#: A service without a readiness check is ready once it has run for this long.
SETTLE_MS: Final = 200

#: Connection number and message type.
MUX: Final = "<IB"
# Message types. OPEN is followed by the guest's port (u16), DATA by bytes, CREDIT by a byte count (u32). SHUT means
# that no more bytes follow in this direction; RESET closes both directions and frees the number.
OPEN: Final = 1
DATA: Final = 2
SHUT: Final = 3
RESET: Final = 4
CREDIT: Final = 5
#: The guest's first message, for connection 0: connections can be opened.
LISTENING: Final = 6
#: Sent by the guest, for connection 0, when the service has ended. No new connections are accepted; open ones are
#: carried to their end.
ENDING: Final = 7
#: How many bytes may be sent ahead of credit: by the guest, and by the host.
OUT_WINDOW_BYTES: Final = 256 * 1024
IN_WINDOW_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 256
