"""Forking, becoming a command, ending: the one module of the guest that does it.

Owns how a child is forked and how a waiting child turns into a command. Refuses to let a child return into its
parent's code.
"""

from __future__ import annotations

import errno
import marshal
import os
import signal
import traceback
from typing import TYPE_CHECKING, NoReturn

from pyro_mcp.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a request to a waiting child holds: argv, env, cwd, and whether stdin is given.
Command = tuple[list[str], dict[str, str], str, bool]

_LENGTH_BYTES = 4
_READ_BYTES = 65536
#: A child that fails before it is a command; nobody sees this but for a defect of the agent.
CHILD_BROKE = 70
_NOT_EXECUTABLE = (errno.EACCES, errno.EISDIR, errno.ENOEXEC, errno.EPERM, errno.ETXTBSY, errno.ELIBBAD)


class RefusalError(Exception):
    """A request that can't be done, as FAILURE tells the host."""

    def __init__(self, code: str, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit_code = exit_code


def fork(child: Callable[[], int]) -> int:
    """Fork a process that calls `child`, and ends with the status that it returns. Return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = CHILD_BROKE
    try:
        status = child()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def send_signal(pid: int, number: int) -> None:
    """Signal a child that has not been reaped."""
    os.kill(pid, number)


def send_signal_by_fd(pidfd: int, number: int) -> None:
    """Signal the process that `pidfd` stands for, unless it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def pack_command(command: Command) -> bytes:
    """Return what makes a waiting child run `command`."""
    body = marshal.dumps(command)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def read_command(fd: int) -> Command | None:
    """Wait for the request that the agent writes; None if it closes the pipe instead."""
    data = os.read(fd, _READ_BYTES)
    if not data:
        return None
    size = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    while len(data) < size:
        more = os.read(fd, _READ_BYTES)
        if not more:
            return None
        data += more
    return marshal.loads(data[_LENGTH_BYTES:])  # noqa: S302 - from the agent itself


def become(command: Command, error_fd: int) -> NoReturn:
    """Turn the calling process into the command, or say on `error_fd` why that failed, and end."""
    argv, env, cwd, _ = command
    status = CHILD_BROKE
    try:
        _change_directory(cwd)
        _execute(argv, env)
    except RefusalError as refusal:
        status = refusal.exit_code or CHILD_BROKE
        os.write(error_fd, marshal.dumps((refusal.code, refusal.message, refusal.exit_code)))
    finally:
        os._exit(status)


def rehearse() -> None:
    """Do what a waiting child does once it is asked, with a command that is not there.

    Python has adapted its code to it afterwards, and the memory pages that it writes are the caller's own.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(writing, pack_command((["/", "-c", ""], {"PATH": ""}, "/", False)))
        command = read_command(reading)
        if command is not None:
            _change_directory(command[2])
            _execute(command[0], command[1])
    except RefusalError:
        return
    finally:
        os.close(reading)
        os.close(writing)


def unpack_failure(data: bytes) -> RefusalError:
    """Return what a child wrote to its error pipe."""
    code, message, exit_code = marshal.loads(data)  # noqa: S302 - from the agent's own child
    return RefusalError(code, message, exit_code=exit_code)


def _change_directory(cwd: str) -> None:
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RefusalError(wire.CWD_UNUSABLE, f"can't run in {cwd!r}: {reason}", exit_code=126) from None


def _execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    name = argv[0]
    if "/" in name:
        paths = [name]
    else:
        paths = [f"{directory or '.'}/{name}" for directory in env.get("PATH", os.defpath).split(":")] if name else []
    found = errno.ENOENT
    for path in paths:
        try:
            os.execve(path, argv, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                found = error.errno or errno.EIO
                if found != errno.EACCES:
                    break
        except ValueError as error:
            raise RefusalError(wire.BAD_REQUEST, f"can't run {name!r}: {error}", exit_code=126) from None
    raise _refusal(name, found)


def _refusal(name: str, number: int) -> RefusalError:
    reason = os.strerror(number)
    if number == errno.ENOENT:
        return RefusalError(wire.COMMAND_NOT_FOUND, f"command not found: {name!r}", exit_code=127)
    if number == errno.E2BIG:
        return RefusalError(wire.ARGUMENTS_TOO_LONG, f"the arguments of {name!r} are too long", exit_code=126)
    if number in _NOT_EXECUTABLE:
        return RefusalError(wire.COMMAND_NOT_EXECUTABLE, f"can't run {name!r}: {reason}", exit_code=126)
    return RefusalError(wire.SYSTEM, f"can't run {name!r}: {reason}", exit_code=126)
