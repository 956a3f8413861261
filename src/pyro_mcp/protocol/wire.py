"""The constants of the wire protocol: numbers, names and limits shared by host and guest.

Constants only: in a guest, each line executed here has a cost after every restore. Numbers and names may be added,
never changed: a restored template may run the agent of an older build.
"""

from __future__ import annotations

from typing import Final

#: Increased when an older agent could not understand a newer host, or vice versa.
GENERATION: Final = 1

#: Starts a session on a lane, which is not connection-oriented: sha256(b"pyro lane hello")[:16].
LANE_MAGIC: Final = bytes.fromhex("c732b74829295849814aab03c4b11f5b")
NONCE_BYTES: Final = 16
LANE_COUNT: Final = 24
LANE_PREFIX: Final = "lane"
VSOCK_PORT: Final = 5252

#: HELLO's body: the host's nonce, its generation, the time in nanoseconds since the epoch (0: don't set the clock).
#: Later generations may append fields.
HELLO_FORMAT: Final = "<16sIq"
#: CONFIGURE's body begins with the time in nanoseconds since the epoch, entropy, the machine id, and the length of the
#: host name that follows. A JSON object with the remaining fields comes last; it is omitted if empty.
CONFIGURE_FORMAT: Final = "<q64s32sB"
ENTROPY_BYTES: Final = 64
#: EXEC's body begins with the timeout in milliseconds (0: none), flags, and the numbers of arguments and variables. The
#: working directory, the arguments and the variables (NAME=VALUE) follow, each ended by a zero byte.
EXEC_FORMAT: Final = "<IBII"
EXEC_STDIN: Final = 1
EXEC_LAST: Final = 2
#: Agent-internal: the last string is the command's controlling terminal. Without EXEC_PROGRAM or EXEC_LINE, the
#: arguments are shells, of which the first that exists is run.
EXEC_TERMINAL: Final = 4
#: The arguments are a shell, -c and a command line. Bash runs the line if it exists, otherwise that shell does.
EXEC_LINE: Final = 8
#: The last string (before a terminal) is the user. Only for agents with the feature USERS: others would use root.
EXEC_USER: Final = 16
USERS: Final = "users"
#: Feature: shells and services accept a `user` as well.
USERS_OF_ALL: Final = "users of all"
#: Stderr is merged into stdout. Only for agents with the feature MERGE.
EXEC_MERGE: Final = 32
MERGE: Final = "merge"
#: Agent-internal: with EXEC_TERMINAL, the arguments are one program's.
EXEC_PROGRAM: Final = 64
#: Feature: the task FREEZE can freeze the root disk as well.
FREEZE_ROOT: Final = "freeze-root"
#: Feature, and a field of `configure`: file names to certificates for the environment's trust store.
CERTIFICATES: Final = "certificates"

# Frames from the host.
HELLO: Final = 1
REQUEST: Final = 2
DATA: Final = 3
EOF: Final = 4
CANCEL: Final = 5
#: In either direction: more bytes of one stream may be sent.
CREDIT: Final = 6
CONFIGURE: Final = 7
EXEC: Final = 8
#: See `tasks`.
TASK: Final = 9
#: See `shells`.
SHELL: Final = 10
#: See `services`.
SERVICE: Final = 11
# Frames from the guest.
READY: Final = 16
STDOUT: Final = 17
STDERR: Final = 18
RESULT: Final = 19
FAILURE: Final = 20

MAX_DATA_BYTES: Final = 64 * 1024
MAX_JSON_BYTES: Final = 1024 * 1024
MAX_JSON_DEPTH: Final = 16
#: More than execve(2) accepts: 2 MiB of arguments and variables.
MAX_EXEC_BYTES: Final = 3 * 1024 * 1024
#: A stream's sender may be this many bytes ahead of what its receiver has acknowledged with CREDIT.
WINDOW_BYTES: Final = 256 * 1024
#: A receiver acknowledges at least every this many bytes.
CREDIT_BYTES: Final = 64 * 1024
#: CREDIT's body: the stream (u8, a descriptor number) and how many bytes more (u32).
CREDIT_FORMAT: Final = "<BI"
CREDIT_BODY_BYTES: Final = 5
STDIN_STREAM: Final = 0
STDOUT_STREAM: Final = 1
STDERR_STREAM: Final = 2

#: The frame kinds that the guest accepts, with the maximum length of each body.
HOST_LIMITS: Final[dict[int, int]] = {
    HELLO: 4096,
    REQUEST: MAX_JSON_BYTES,
    DATA: MAX_DATA_BYTES,
    EOF: 0,
    CANCEL: 0,
    CREDIT: CREDIT_BODY_BYTES,
    CONFIGURE: MAX_JSON_BYTES,
    EXEC: MAX_EXEC_BYTES,
    TASK: MAX_JSON_BYTES,
    SHELL: MAX_JSON_BYTES,
    SERVICE: MAX_JSON_BYTES,
}
#: The frame kinds that the host accepts, likewise.
GUEST_LIMITS: Final[dict[int, int]] = {
    READY: 4096,
    STDOUT: MAX_DATA_BYTES,
    STDERR: MAX_DATA_BYTES,
    RESULT: MAX_JSON_BYTES,
    FAILURE: 64 * 1024,
    CREDIT: CREDIT_BODY_BYTES,
}

# Operations of REQUEST.
PING: Final = "ping"
PREPARE: Final = "prepare"
SYNC: Final = "sync"
POWEROFF: Final = "poweroff"
#: Stores a secret in memory: `name` and `value`.
KEEP: Final = "keep"

# Flavours of a template, and the values of `configure` for the root disk.
FRESH: Final = "fresh"
ATTACH: Final = "attach"
ROOT_MOUNTED: Final = "mounted"
ROOT_ATTACH: Final = "attach"

# Further fields of `configure`: mount the workspace disk; mount all disks read-only, for inspection.
WORKSPACE: Final = "workspace"
INSPECT: Final = "inspect"

# Codes of FAILURE. The host maps exactly these; any other code is a protocol violation.
BAD_REQUEST: Final = "bad_request"
NOT_CONFIGURED: Final = "not_configured"
UNSUPPORTED: Final = "unsupported"
CONFLICT: Final = "conflict"
COMMAND_NOT_FOUND: Final = "command_not_found"
COMMAND_NOT_EXECUTABLE: Final = "command_not_executable"
CWD_UNUSABLE: Final = "cwd_unusable"
NO_SUCH_USER: Final = "no_such_user"
ARGUMENTS_TOO_LONG: Final = "arguments_too_long"
NO_SUCH_SHELL: Final = "no_such_shell"
TOO_MANY_SHELLS: Final = "too_many_shells"
SHELL_EXITED: Final = "shell_exited"
SHELL_FULL: Final = "shell_full"
NO_SUCH_SERVICE: Final = "no_such_service"
TOO_MANY_SERVICES: Final = "too_many_services"
SERVICE_RUNS: Final = "service_runs"
PORT_ANSWERED: Final = "port_answered"
SYSTEM: Final = "system"
FAILURE_CODES: Final = frozenset(
    {
        BAD_REQUEST,
        NOT_CONFIGURED,
        UNSUPPORTED,
        CONFLICT,
        COMMAND_NOT_FOUND,
        COMMAND_NOT_EXECUTABLE,
        CWD_UNUSABLE,
        NO_SUCH_USER,
        ARGUMENTS_TOO_LONG,
        NO_SUCH_SHELL,
        TOO_MANY_SHELLS,
        SHELL_EXITED,
        SHELL_FULL,
        NO_SUCH_SERVICE,
        TOO_MANY_SERVICES,
        SERVICE_RUNS,
        PORT_ANSWERED,
        SYSTEM,
    }
)
