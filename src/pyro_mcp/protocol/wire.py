"""The vocabulary of the wire: numbers, names and limits that host and guest agree on.

Constants only: it is loaded in a guest where each executed line is paid for after every restore. Numbers and names may
be added, never changed: a restored template may hold an agent of an older build.
"""

from __future__ import annotations

from typing import Final

#: Raised when an older agent could not understand a newer host, or the other way round.
GENERATION: Final = 1

#: Starts a session on a lane, which has no connections: sha256(b"pyro lane hello")[:16].
LANE_MAGIC: Final = bytes.fromhex("c732b74829295849814aab03c4b11f5b")
NONCE_BYTES: Final = 16
LANE_COUNT: Final = 24
LANE_PREFIX: Final = "lane"
VSOCK_PORT: Final = 5252

#: HELLO's body: our nonce, the generation we speak, the time in nanoseconds since the epoch (0: leave the clock alone).
#: Later generations may add to it.
HELLO_FORMAT: Final = "<16sIq"
#: CONFIGURE's body begins with the time in nanoseconds since the epoch, entropy, the machine id, and the length of the
#: host name that follows. After it comes a JSON object with the rest; nothing stands for an empty one.
CONFIGURE_FORMAT: Final = "<q64s32sB"
ENTROPY_BYTES: Final = 64
#: EXEC's body begins with the timeout in milliseconds (0: none), flags, and the numbers of arguments and variables. The
#: working directory, the arguments and the variables (NAME=VALUE) follow, each ended by a zero byte.
EXEC_FORMAT: Final = "<IBII"
EXEC_STDIN: Final = 1
EXEC_LAST: Final = 2
#: The agent's own: the last text names the terminal that the command sits at. Without EXEC_PROGRAM or EXEC_LINE its
#: arguments are shells to choose from.
EXEC_TERMINAL: Final = 4
#: The arguments are a shell, -c and a command line: the line is run by bash where there is one, else by that shell.
EXEC_LINE: Final = 8
#: The last text (before a terminal) names the user. Only for an agent with the feature USERS: others would use root.
EXEC_USER: Final = 16
USERS: Final = "users"
#: Shells and services take a `user`, too.
USERS_OF_ALL: Final = "users of all"
#: Its stderr is its stdout. Only for an agent with the feature MERGE.
EXEC_MERGE: Final = 32
MERGE: Final = "merge"
#: The agent's own: at a terminal, the arguments are those of one program.
EXEC_PROGRAM: Final = 64
#: The task FREEZE can hold the root disk still too.
FREEZE_ROOT: Final = "freeze-root"

# Frames from the host.
HELLO: Final = 1
REQUEST: Final = 2
DATA: Final = 3
EOF: Final = 4
CANCEL: Final = 5
#: Either way: more bytes of one stream may be sent.
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
#: More than execve(2) takes: arguments and variables of 2 MiB.
MAX_EXEC_BYTES: Final = 3 * 1024 * 1024
#: A stream's sender may be this many bytes ahead of what its receiver has acknowledged with CREDIT.
WINDOW_BYTES: Final = 256 * 1024
#: A receiver acknowledges at least every so many bytes.
CREDIT_BYTES: Final = 64 * 1024
#: CREDIT's body: the stream (u8, a descriptor number) and how many bytes more (u32).
CREDIT_FORMAT: Final = "<BI"
CREDIT_BODY_BYTES: Final = 5
STDIN_STREAM: Final = 0
STDOUT_STREAM: Final = 1
STDERR_STREAM: Final = 2

#: The kinds that the guest accepts, and how long the body of each may be.
HOST_LIMITS: Final[dict[int, int]] = {
    HELLO: 4096,
    REQUEST: MAX_JSON_BYTES,
    DATA: MAX_DATA_BYTES,
    EOF: 0,
    CANCEL: 0,
    CREDIT: CREDIT_BODY_BYTES,
    CONFIGURE: 64 * 1024,
    EXEC: MAX_EXEC_BYTES,
    TASK: MAX_JSON_BYTES,
    SHELL: MAX_JSON_BYTES,
    SERVICE: MAX_JSON_BYTES,
}
#: The kinds that the host accepts.
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
#: Keeps a secret in memory: `name` and `value`.
KEEP: Final = "keep"

# Flavours of a template, and the values of `configure` for the root disk.
FRESH: Final = "fresh"
ATTACH: Final = "attach"
ROOT_MOUNTED: Final = "mounted"
ROOT_ATTACH: Final = "attach"

# Further fields of `configure`: mount the workspace's disk, and let its disks be looked at only.
WORKSPACE: Final = "workspace"
INSPECT: Final = "inspect"

# Codes of FAILURE. The host has a closed mapping for them and takes any other for a breach of the protocol.
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
