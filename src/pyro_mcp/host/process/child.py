"""Start programs. No other module does.

A child gets no shell, no inherited descriptors and its own session. No code runs between fork and exec, since
`preexec_fn` can deadlock in threaded programs. A detached child is reparented to init from the start: chat hosts kill
every descendant of a server when it ends, and processes that must outlive their caller must not be among them.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host import programs
from pyro_mcp.host.process.end import DETACHED, UNKNOWN_STATUS, end_tree, readable, reap, reap_detached
from pyro_mcp.host.process.identity import ProcessIdentity, boot_id, read_stat
from pyro_mcp.host.waiting import Deadline

DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT

# Run by `setsid --fork` in the detached process, which must report its pid itself, since setsid does not.
_REPORT = 'echo "$$"; exec "$@"'
_REPORT_TIMEOUT_S = 10.0
_REPORT_BYTES = 32


class Child:
    """A process started by this one.

    As a context manager it kills the process and its descendants at the end of the block; a `detached` process is
    killed only if the block raises.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        pid: int,
        *,
        detached: bool,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
    ) -> None:
        self.argv = argv
        self.pid = pid
        self.detached = detached
        self.returncode: int | None = None
        #: This process's ends of the requested pipes, as raw descriptors.
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.pidfd = os.pidfd_open(pid)
        found = read_stat(pid)
        self.start_time = 0 if found is None else found.start_time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is not None or not self.detached:
                self.kill()
        finally:
            self.close()

    @property
    def name(self) -> str:
        """Return the program's name, for messages."""
        return os.path.basename(self.argv[0])

    @property
    def identity(self) -> ProcessIdentity:
        """Return the permanent identity of the process."""
        return ProcessIdentity(self.pid, self.start_time, boot_id())

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that killed it), or None while it is running."""
        if self.returncode is None and readable(self.pidfd, 0):
            self.returncode = reap(self.pid)
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Wait for the process to end and return its exit status.

        Raises:
            PyroError: TIMEOUT; the process is not affected.
        """
        if self.returncode is None and not readable(self.pidfd, timeout_s):
            raise Deadline(timeout_s, f"{self.name} (pid {self.pid}) to end").error()
        status = self.poll()
        return UNKNOWN_STATUS if status is None else status

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, but not to its descendants, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def kill(self, *, grace_s: float = 0.0) -> int:
        """Kill the process and its descendants, after SIGTERM if `grace_s` is not 0. Return the exit status."""
        # Until the leader is reaped, its pid, and with it the group id, can't have been reused.
        if self.returncode is None:
            end_tree(self.pid, self.pidfd, grace_s)
            self.returncode = reap(self.pid)
        return self.returncode

    def close_stdin(self) -> None:
        """Close this process's end of the child's stdin."""
        fd, self.stdin = self.stdin, None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close the descriptors. A running process continues."""
        for fd in (self.stdin, self.stdout, self.stderr, self.pidfd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = None
        if self.pidfd >= 0 and self.returncode is None:
            DETACHED.add(self.pid)
        self.pidfd = -1


def start(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    stdin: int | None = DEVNULL,
    stdout: int | None = DEVNULL,
    stderr: int | None = DEVNULL,
    pass_fds: Sequence[int] = (),
    user: int | None = None,
    group: int | None = None,
    extra_groups: Sequence[int] | None = None,
    umask: int = -1,
    start_new_session: bool = True,
    detached: bool = False,
    reports_to: int | None = None,
    parent_death_signal: int | None = None,
) -> Child:
    """Start a program and return immediately.

    A standard stream is a descriptor, `DEVNULL`, `PIPE` (its other end is then in the `Child`) or None (shared with
    this process). `user`, `group` and `extra_groups` require root. `parent_death_signal` is sent to the program, but
    not to its children, when the thread that started it ends for any reason. A `detached` program is not a child of
    this process, so its exit status is unknown; if its stdout is a descriptor, that must be a pipe, and `reports_to`
    its read end.

    Raises:
        PyroError: MISSING_PROGRAM, PERMISSION, INVALID, UNAVAILABLE.
    """
    reap_detached()
    command = _resolve(argv)
    silent = detached and stdout == DEVNULL
    wrapper = _detaching(command[0], silent=silent) if detached else []
    wrapper += [] if parent_death_signal is None else _dying_with_us(parent_death_signal)
    pipes = _Pipes()
    try:
        popen = subprocess.Popen(
            [*wrapper, *command],
            env=_environment() if env is None else dict(env),
            cwd=cwd,
            stdin=pipes.end("stdin", stdin, child_reads=True),
            stdout=pipes.end("stdout", PIPE if silent else stdout),
            stderr=pipes.end("stderr", stderr),
            pass_fds=tuple(pass_fds),
            user=user,
            group=group,
            extra_groups=extra_groups,
            umask=umask,
            start_new_session=start_new_session,
        )
        pipes.close_theirs()
        pid = _reported_pid(popen, pipes, reports_to, silent=silent) if detached else popen.pid
        return _adopt(popen, pid, command, detached=detached, pipes=pipes)
    except BaseException as error:
        pipes.close_ours()
        if isinstance(error, (OSError, ValueError, subprocess.SubprocessError)):
            raise _start_error(error, command[0]) from error
        raise
    finally:
        pipes.close_theirs()


def _detaching(program: str, *, silent: bool) -> list[str]:
    if not os.access(program, os.X_OK):
        raise _start_error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program), program)
    report = f"{_REPORT} >/dev/null" if silent else _REPORT
    return [str(programs.find_program("setsid")), "--fork", "/bin/sh", "-c", report, "sh"]


def _reported_pid(popen: subprocess.Popen[bytes], pipes: _Pipes, reports_to: int | None, *, silent: bool) -> int:
    """Return the pid of a detached program, which is reported in a line before the program's own output."""
    fd, line = pipes.ours["stdout"] if reports_to is None else reports_to, b""
    if fd is not None:
        deadline = Deadline(_REPORT_TIMEOUT_S, "a detached program to start")
        # Byte by byte unless it is silent: the program's own output follows.
        while readable(fd, deadline.remaining_s()) and (read := os.read(fd, _REPORT_BYTES if silent else 1)):
            line += read
            if line.endswith(b"\n"):
                break
    popen.wait()
    line = line.removesuffix(b"\n")
    if silent:
        pipes.close_ours("stdout")
    if not line.isdigit():
        raise OSError(errno.ESRCH, "it ended before it was running")
    return int(line)


def _adopt(popen: subprocess.Popen[bytes], pid: int, command: list[str], *, detached: bool, pipes: _Pipes) -> Child:
    try:
        child = Child(tuple(command), pid, detached=detached, **pipes.ours)
    except BaseException:
        popen.kill()
        popen.wait()
        raise
    # The Child waits through its pidfd; this keeps Popen's finalizer from doing so.
    popen.returncode = 0
    return child


class _Pipes:
    """The pipes between a child and this process while it is being started."""

    def __init__(self) -> None:
        self.ours: dict[str, int | None] = {"stdin": None, "stdout": None, "stderr": None}
        self._theirs: list[int] = []

    def end(self, name: str, wanted: int | None, *, child_reads: bool = False) -> int | None:
        """Return the child's end of the stream `name`."""
        if wanted != PIPE:
            return wanted
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs, self.ours[name] = (reading, writing) if child_reads else (writing, reading)
        self._theirs.append(theirs)
        return theirs

    def close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())

    def close_ours(self, *names: str) -> None:
        for name in names or tuple(self.ours):
            fd, self.ours[name] = self.ours[name], None
            if fd is not None:
                os.close(fd)


def _dying_with_us(number: int) -> list[str]:
    # prctl between fork and exec would need preexec_fn; util-linux's setpriv does it after the exec.
    setpriv = str(programs.find_program("setpriv"))
    return [setpriv, "--pdeathsig", signal.Signals(number).name, "--"]


def _resolve(argv: Sequence[str | Path]) -> list[str]:
    command = [os.fspath(part) for part in argv]
    if "/" not in command[0]:
        command[0] = str(programs.find_program(command[0]))
    return command


def _environment() -> dict[str, str]:
    env = dict(os.environ)
    # An ordinary user's PATH on Debian lacks the directories of mke2fs and nft.
    env["PATH"] = os.pathsep.join(programs.search_path())
    return env


def _start_error(error: BaseException, program: str) -> PyroError:
    name = os.path.basename(program)
    if isinstance(error, FileNotFoundError) and error.filename == program:
        return programs.missing_program(name)
    if isinstance(error, OSError):
        return from_os_error(error, f"start {name}")
    return PyroError(ErrorCode.INVALID, f"could not start {name}: {error}")
