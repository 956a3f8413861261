"""Run programs to completion, with limits on time and output, leaving none of their processes behind.

The middle of long output and the end of long lines are dropped.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.output import OutputBuffer
from pyro_mcp.host.process.child import DEVNULL, PIPE, STDOUT, Child, start
from pyro_mcp.host.waiting import Deadline

MAX_OUTPUT_BYTES = 16 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_READ_BYTES = 65536
_TAIL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a program that has ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    dropped_bytes: int = 0

    @property
    def text(self) -> str:
        """Return stdout as text, without trailing newlines."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    input: bytes | None = None,  # noqa: A002 - the same name as in subprocess.run
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    check: bool = True,
    capture: bool = True,
    pass_fds: Sequence[int] = (),
    user: int | None = None,
    group: int | None = None,
    extra_groups: Sequence[int] | None = None,
    parent_death_signal: int | None = None,
    grace_s: float = 0.0,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> Completed:
    """Run a program to completion and return its output, at most `max_output_bytes` per stream.

    Without `input` its stdin is empty; without `capture` it shares this process's stdout and stderr. On a timeout or
    any other exception it is killed with its descendants, after SIGTERM and `grace_s` seconds if given. Processes that
    it left running in its process group are killed as well.

    Raises:
        PyroError: PROGRAM_FAILED (or NO_SPACE) for a non-zero status if `check`; TIMEOUT; the errors of `start`.
    """
    stdout, stderr = _bounded(max_output_bytes), _bounded(max_output_bytes)
    piped = PIPE if capture else None
    with start(
        argv,
        env=env,
        cwd=cwd,
        stdin=DEVNULL if input is None else PIPE,
        stdout=piped,
        stderr=piped,
        pass_fds=pass_fds,
        user=user,
        group=group,
        extra_groups=extra_groups,
        parent_death_signal=parent_death_signal,
    ) as child:
        deadline = Deadline(timeout_s, f"{child.name} to finish")
        sinks = [(child.stdout, stdout.add), (child.stderr, stderr.add)]
        returncode = _attend(child, input or b"", sinks, deadline, grace_s, lambda: _tail(stderr))
    done = Completed(
        child.argv,
        returncode,
        stdout.data(),
        stderr.data(),
        stdout.dropped_bytes + stderr.dropped_bytes,
    )
    if check and returncode != 0:
        raise _failure(done, _tail(stderr) or _tail(stdout))
    return done


def stream(
    argv: Sequence[str | Path],
    *,
    on_line: Callable[[str], None],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
    parent_death_signal: int | None = None,
    grace_s: float = 10.0,
) -> int:
    """Run a long program, pass each line of its output (stdout and stderr merged) to `on_line`, return its status.

    It is killed as by `run`, by default ten seconds after SIGTERM, so that a build can unmount its file systems.

    Raises:
        PyroError: PROGRAM_FAILED (or NO_SPACE) with the last lines if `check`; TIMEOUT; the errors of `start`.
    """
    last = _bounded(2 * _TAIL_CHARS)
    lines = LineSplitter(on_line)

    def take(data: bytes) -> None:
        last.add(data)
        lines.add(data)

    with start(
        argv,
        env=env,
        cwd=cwd,
        stdout=PIPE,
        stderr=STDOUT,
        pass_fds=pass_fds,
        parent_death_signal=parent_death_signal,
    ) as child:
        deadline = Deadline(timeout_s, f"{child.name} to finish")
        returncode = _attend(child, b"", [(child.stdout, take)], deadline, grace_s, lambda: _tail(last))
    lines.finish()
    if check and returncode != 0:
        raise _failure(Completed(child.argv, returncode, last.data(), b""), _tail(last))
    return returncode


def _failure(done: Completed, tail: str) -> PyroError:
    name = os.path.basename(done.argv[0])
    how = f"exit status {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
    code, hint = ErrorCode.PROGRAM_FAILED, ""
    if "No space left on device" in tail:
        code, hint = (
            ErrorCode.NO_SPACE,
            "Free some disk space (`pyro env prune` helps) and run the command again.",
        )
    return PyroError(
        code,
        f"{name} ended with {how}" + (f":\n{tail}" if tail else ""),
        hint=hint,
        details={"argv": list(done.argv), "returncode": done.returncode},
    )


def _bounded(limit_bytes: int) -> OutputBuffer:
    return OutputBuffer(limit_bytes - limit_bytes // 2, limit_bytes // 2)


def _tail(output: OutputBuffer) -> str:
    return output.data().decode("utf-8", "replace").strip()[-_TAIL_CHARS:]


def _attend(
    child: Child,
    data: bytes,
    sinks: list[tuple[int | None, Callable[[bytes], None]]],
    deadline: Deadline,
    grace_s: float,
    tail: Callable[[], str],
) -> int:
    """Pass `data` to the child and its output to the sinks until it ends; kill it and its descendants on an error."""
    try:
        _pump(child, data, {fd: sink for fd, sink in sinks if fd is not None}, deadline, tail)
    except BaseException:
        child.kill(grace_s=grace_s)
        raise
    return child.wait(0)


def _pump(
    child: Child,
    data: bytes,
    sinks: dict[int, Callable[[bytes], None]],
    deadline: Deadline,
    tail: Callable[[], str],
) -> None:
    poller = select.poll()
    poller.register(child.pidfd, select.POLLIN)
    for fd in sinks:
        os.set_blocking(fd, False)
        poller.register(fd, select.POLLIN)
    rest = memoryview(data)
    if child.stdin is not None:
        os.set_blocking(child.stdin, False)
        poller.register(child.stdin, select.POLLOUT)
    while True:
        ready = {fd for fd, _ in poller.poll(deadline.remaining_s() * 1000)}
        if child.stdin in ready:
            poller.unregister(child.stdin)
            rest = _feed(child.stdin, rest)
            if rest:
                poller.register(child.stdin, select.POLLOUT)
            else:
                child.close_stdin()
        for fd in ready & sinks.keys():
            if not _read_once(fd, sinks[fd]):
                poller.unregister(fd)
                del sinks[fd]
        if child.pidfd in ready:
            break
        deadline.check(tail=tail)
    # While the leader is a zombie, its group id can't be reused.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    for fd, sink in sinks.items():
        for _ in range(_PIPE_BYTES // _READ_BYTES):
            if not _read_once(fd, sink):
                break


def _feed(fd: int, rest: memoryview) -> memoryview:
    try:
        return rest[os.write(fd, rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        # It closed its stdin early; its exit status shows whether that is an error.
        return rest[:0]


def _read_once(fd: int, sink: Callable[[bytes], None]) -> bool:
    """Pass on the data that is available; return whether there was any."""
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return False
    if data:
        sink(data)
    return bool(data)


MAX_LINE_BYTES = 8192


class LineSplitter:
    r"""Splits a byte stream into text lines at \n and \r, and passes each one on."""

    __slots__ = ("_on_line", "_rest")

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Process the next piece of the stream."""
        *lines, rest = (self._rest + data.replace(b"\r", b"\n")).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            self._emit(line)

    def finish(self) -> None:
        """Pass on the text after the last line end."""
        rest, self._rest = self._rest, b""
        self._emit(rest)

    def _emit(self, line: bytes) -> None:
        if line:
            self._on_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))
