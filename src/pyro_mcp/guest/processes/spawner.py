"""Fork processes, and turn them into commands. No other module of the guest does either.

A child never returns into its parent's code.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import signal
import struct
import termios
from collections.abc import Callable
from typing import NoReturn

from pyro_mcp.guest.console import log_exception
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire

_EXEC = struct.Struct(wire.EXEC_FORMAT)
_WORKSPACE = b"/workspace"
_LENGTH_BYTES = 4
#: Exit status of a child that fails before it becomes a command; visible only if the agent has a bug.
CHILD_BROKE = 70
_NOT_EXECUTABLE = (errno.EACCES, errno.EISDIR, errno.ENOEXEC, errno.EPERM, errno.ETXTBSY, errno.ELIBBAD)


def fork(child: Callable[[], int]) -> int:
    """Fork a process that calls `child` and exits with the status it returns. Return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = CHILD_BROKE
    try:
        status = child()
    except BaseException:
        log_exception()
        raise
    finally:
        os._exit(status)


def send_signal(pid: int, number: int) -> None:
    """Signal a child that has not been reaped."""
    os.kill(pid, number)


def send_signal_by_fd(pidfd: int, number: int) -> None:
    """Signal the process that `pidfd` refers to, unless it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


class Surroundings:
    """Environment variables for commands, and the actual path of `/workspace`."""

    __slots__ = ("environment", "workspace")

    def __init__(self, environment: dict[bytes, bytes], workspace: bytes) -> None:
        self.environment = environment
        self.workspace = workspace


def pack_command(body: bytes) -> bytes:
    """Return the request that makes a waiting child run the command of an EXEC frame.

    The child reads its last byte just before execve, so an unread byte means that the command never ran.
    """
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body + b"!"


def read_command(fd: int) -> bytes | None:
    """Wait for the agent's request; return None if the agent closes the pipe instead."""
    data = os.read(fd, _LENGTH_BYTES)
    if not data:
        return None
    left, data = int.from_bytes(data, "little"), b""
    while left:
        more = os.read(fd, left)
        if not more:
            return None
        left -= len(more)
        data += more
    return data


def become(body: bytes, surroundings: Surroundings, request_fd: int, stdin_fd: int, error_fd: int) -> NoReturn:
    """Turn the calling process into the command, or report the failure on `error_fd` and exit."""
    status = CHILD_BROKE
    try:
        _run(body, surroundings, request_fd, stdin_fd)
    except RefusalError as refusal:
        status = refusal.exit_code or CHILD_BROKE
        os.write(error_fd, marshal.dumps((refusal.code, refusal.message, refusal.exit_code)))
    finally:
        os._exit(status)


def rehearse(surroundings: Surroundings) -> None:
    """Run the code path of a waiting child, with a command that does not exist.

    Afterwards Python has specialized that code, and the memory pages it writes are already private to the caller.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(writing, pack_command(_EXEC.pack(0, wire.EXEC_LINE, 3, 1) + b"/\0/\0-c\0\0PATH=\0"))
        body = read_command(reading)
        if body is not None:
            _run(body, Surroundings(surroundings.environment.copy(), surroundings.workspace), reading, -1)
    except RefusalError:
        return
    finally:
        os.close(reading)
        os.close(writing)


def unpack_failure(data: bytes) -> RefusalError:
    """Decode what a child wrote to its error pipe."""
    code, message, exit_code = marshal.loads(data)  # noqa: S302 - from the agent's own child
    return RefusalError(code, message, exit_code=exit_code)


def _run(body: bytes, surroundings: Surroundings, request_fd: int, stdin_fd: int) -> NoReturn:
    _, flags, argument_count, _ = _EXEC.unpack_from(body)
    texts = body[_EXEC.size : -1].split(b"\0")
    terminal = texts.pop() if flags & wire.EXEC_TERMINAL else None
    user = texts.pop() if flags & wire.EXEC_USER else None
    last = 1 + argument_count
    argv = texts[1:last]
    if not argv or not argv[0]:
        raise RefusalError(wire.BAD_REQUEST, "the command is empty", exit_code=126)
    environment = surroundings.environment
    if terminal is not None:
        # Before the user changes: `_become_user` gives the terminal to the user.
        _attach_terminal(terminal)
    if user is not None:
        _become_user(user, environment)
    for variable in texts[last:]:
        name, _, value = variable.partition(b"=")
        environment[name] = value
    cwd = texts[0]
    if cwd == b"~" or cwd.startswith(b"~/"):
        cwd = environment.get(b"HOME", b"/") + cwd[1:]
    _change_directory(cwd, surroundings.workspace)
    os.read(request_fd, 1)
    if terminal is not None and not flags & (wire.EXEC_PROGRAM | wire.EXEC_LINE):
        _become_shell(argv, environment)
    if flags & wire.EXEC_STDIN:
        os.dup2(stdin_fd, 0)
    if flags & wire.EXEC_MERGE:
        os.dup2(1, 2)
    if flags & wire.EXEC_LINE:
        _execute_line(argv, environment)
    _execute(argv, environment)


def _execute_line(argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    """Execute bash with the arguments of a shell; return if there is no bash."""
    try:
        _execute([b"bash", *argv[1:]], environment)
    except RefusalError as refusal:
        if refusal.code != wire.COMMAND_NOT_FOUND:
            raise


def _become_user(user: bytes, environment: dict[bytes, bytes]) -> None:
    """Switch the calling process to a user, by name or number, and set the variables that a login sets."""
    found = [entry for entry in _entries("/etc/passwd", 7) if user in {entry[0], entry[2]}]
    if not found:
        raise RefusalError(wire.NO_SUCH_USER, f"no such user: {os.fsdecode(user)!r}", exit_code=126)
    name, _, uid, gid, _, home, shell = found[0]
    groups = [int(entry[2]) for entry in _entries("/etc/group", 4) if name in entry[3].split(b",")]
    # Without this, the command could not reopen /dev/stdout and /dev/stderr.
    for fd in (1, 2):
        os.fchown(fd, int(uid), int(gid))
    os.setgroups([int(gid), *groups])
    os.setgid(int(gid))
    os.setuid(int(uid))
    environment.update({b"HOME": home, b"USER": name, b"LOGNAME": name, b"SHELL": shell or b"/bin/sh"})


def _entries(path: str, fields: int) -> list[list[bytes]]:
    try:
        with open(path, "rb") as file:
            entries = [line.split(b":") for line in file.read().splitlines()]
    except OSError:
        return []
    return [entry for entry in entries if len(entry) == fields and entry[2].isdigit()]


def _attach_terminal(terminal: bytes) -> None:
    """Make a terminal the controlling terminal and standard streams of the calling process, a session leader."""
    try:
        fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise RefusalError(wire.SYSTEM, f"can't open {os.fsdecode(terminal)}: {error.strerror}") from None
    for standard in (0, 1, 2):
        os.dup2(fd, standard)
    os.close(fd)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _become_shell(programs: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    """Execute the first of the programs that exists."""
    for program in programs[:-1]:
        try:
            _execute([program], environment)
        except RefusalError:
            continue
    _execute(programs[-1:], environment)


def _change_directory(cwd: bytes, workspace: bytes) -> None:
    if cwd.startswith(_WORKSPACE) and cwd[len(_WORKSPACE) : len(_WORKSPACE) + 1] in b"/":
        cwd = workspace + cwd[len(_WORKSPACE) :]
    try:
        os.chdir(cwd)
    except OSError as error:
        raise RefusalError(
            wire.CWD_UNUSABLE, f"can't run in {os.fsdecode(cwd)!r}: {error.strerror}", exit_code=126
        ) from None


def _execute(argv: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    name = argv[0]
    if b"/" in name:
        paths = [name]
    else:
        search = environment.get(b"PATH", b"/bin:/usr/bin")
        paths = [(directory or b".") + b"/" + name for directory in search.split(b":")]
    found = errno.ENOENT
    for path in paths:
        try:
            os.execve(path, argv, environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                found = error.errno or errno.EIO
                if found != errno.EACCES:
                    break
        except ValueError as error:
            # A variable without a name.
            raise RefusalError(wire.BAD_REQUEST, str(error), exit_code=126) from None
    raise _refusal(os.fsdecode(name), found)


def _refusal(name: str, number: int) -> RefusalError:
    reason = os.strerror(number)
    if number == errno.ENOENT:
        return RefusalError(wire.COMMAND_NOT_FOUND, f"command not found: {name!r}", exit_code=127)
    if number == errno.E2BIG:
        return RefusalError(wire.ARGUMENTS_TOO_LONG, f"the arguments of {name!r} are too long", exit_code=126)
    if number in _NOT_EXECUTABLE:
        return RefusalError(wire.COMMAND_NOT_EXECUTABLE, f"can't run {name!r}: {reason}", exit_code=126)
    return RefusalError(wire.SYSTEM, f"can't run {name!r}: {reason}", exit_code=126)
