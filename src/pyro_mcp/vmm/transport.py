"""Lanes: the Unix sockets over which several processes can use one guest at the same time.

A lane is claimed by locking `lanes/N.lock` in the runtime directory. A waiting process locks a file
`lanes/USE.TIME-PID.lock`, so that lanes are granted in order, and a waiter that is killed does not block the others.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import assert_never

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.closing import Closing
from pyro_mcp.host.sockets import connect_unix, listen_unix
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.vmm.driver import COMMAND_LANES, LANES

LOCKS = "lanes"
_RETRY_INTERVAL_S = 0.02
# The VMM accepts a connection immediately, unless it is stopped.
_DIAL_TIMEOUT_S = 10.0


def lane_path(runtime_dir: Path, lane: int) -> Path:
    """Return the path of a lane's socket."""
    return runtime_dir / f"l{lane}"


def listen_lanes(runtime_dir: Path, lanes: int = LANES) -> list[socket.socket]:
    """Bind the lanes of a new machine, for the VMM to inherit. The caller closes its copies.

    Raises:
        PyroError: CONFLICT if another machine has used the directory; PERMISSION and others.
    """
    listeners: list[socket.socket] = []
    try:
        # Separately, since makedirs applies the mode only to the last directory.
        os.makedirs(runtime_dir, 0o700, exist_ok=True)
        os.makedirs(runtime_dir / LOCKS, 0o700, exist_ok=True)
        listeners.extend(listen_unix(lane_path(runtime_dir, lane)) for lane in range(lanes))
    except BaseException as error:
        for lane, listener in enumerate(listeners):
            listener.close()
            lane_path(runtime_dir, lane).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise from_os_error(error, f"create the lanes in {runtime_dir}") from error
        raise
    return listeners


class LaneConnection(Closing):
    """A connected lane, held until it is closed."""

    def __init__(self, connected: socket.socket, lock_fd: int) -> None:
        self.socket = connected
        self._lock_fd = lock_fd

    def close(self) -> None:
        """Disconnect, then release the lane: no other process may connect while this connection exists."""
        self.socket.close()
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)


class LaneTransport:
    """The transport to the agent of the machine with the given runtime directory."""

    def __init__(self, runtime_dir: Path, lanes: int = LANES) -> None:
        self._runtime_dir = runtime_dir
        self._lanes = lanes

    def connect(
        self, *, timeout_s: float, use: LaneUse = LaneUse.SHORT, while_waiting: Callable[[], None] | None = None
    ) -> LaneConnection:
        """Claim a free lane for this use, and connect to it.

        Raises:
            PyroError: BUSY if no lane becomes free; GUEST_LOST if the machine has ended; TIMEOUT.
        """
        claimed = None if self._line_names(use) else self._claim(use)
        lane, fd = claimed or self._wait_in_line(timeout_s, use, while_waiting)
        try:
            return LaneConnection(self._dial(lane, _DIAL_TIMEOUT_S), fd)
        except BaseException:
            os.close(fd)
            raise

    def _wait_in_line(
        self, timeout_s: float, use: LaneUse, while_waiting: Callable[[], None] | None
    ) -> tuple[int, int]:
        """Claim the next lane that becomes free, in order of the waiters for this use."""
        ticket = f"{time.monotonic_ns():020d}-{os.getpid()}"
        fd = self._open_lock(f"{use}.{ticket}")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)

            def claim() -> tuple[int, int] | None:
                if while_waiting is not None:
                    while_waiting()
                return self._claim(use) if self._is_first(use, ticket) else None

            return wait_until(claim, timeout_s=timeout_s, what="a free lane", interval_s=_RETRY_INTERVAL_S)
        except PyroError as error:
            if error.code is ErrorCode.TIMEOUT and error.details.get("waited_for") == "a free lane":
                raise _busy(use, timeout_s) from None
            raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._lock_path(f"{use}.{ticket}"))
            os.close(fd)

    def _line_names(self, use: LaneUse) -> list[str]:
        try:
            names = os.listdir(self._runtime_dir / LOCKS)
        except (FileNotFoundError, NotADirectoryError):
            raise self._lost() from None
        return sorted(name for name in names if name.startswith(f"{use}."))

    def _is_first(self, use: LaneUse, ticket: str) -> bool:
        for name in self._line_names(use):
            waiting = name.removeprefix(f"{use}.").removesuffix(".lock")
            if waiting == ticket:
                return True
            fd = self._open_lock(f"{use}.{waiting}")
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                os.close(fd)
            # That waiter was killed.
            with suppress(FileNotFoundError):
                os.unlink(self._lock_path(f"{use}.{waiting}"))
        return True

    def _claim(self, use: LaneUse) -> tuple[int, int] | None:
        """Lock the first lane that is free for a use; return (lane, descriptor), or None if all are taken."""
        for lane in self._lanes_for(use):
            # Machines started by an older version have fewer lanes.
            if lane and not lane_path(self._runtime_dir, lane).exists():
                continue
            fd = self._open_lock(str(lane))
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
            except BaseException:
                os.close(fd)
                raise
            else:
                return lane, fd
        return None

    def _lanes_for(self, use: LaneUse) -> list[int]:
        commands, short = range(COMMAND_LANES), range(COMMAND_LANES, self._lanes - 1)
        match use:
            case LaneUse.COMMAND:
                return [*commands]
            case LaneUse.SHORT:
                return [*short, *commands]
            case LaneUse.STOP:
                return [self._lanes - 1, *short, *commands]
            case _:
                assert_never(use)

    def _lock_path(self, name: str) -> Path:
        return self._runtime_dir / LOCKS / f"{name}.lock"

    def _open_lock(self, name: str) -> int:
        path = self._lock_path(name)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise self._lost() from None
        except OSError as error:
            raise from_os_error(error, f"open the lane lock {path}") from error

    def _dial(self, lane: int, timeout_s: float) -> socket.socket:
        try:
            return connect_unix(lane_path(self._runtime_dir, lane), timeout_s)
        except PyroError as error:
            if error.code is ErrorCode.UNAVAILABLE:
                raise self._lost() from error
            raise

    def _lost(self) -> PyroError:
        return PyroError(
            ErrorCode.GUEST_LOST,
            f"the machine in {self._runtime_dir} has ended",
            hint="Check its status; start it again, or create another.",
        )


def _busy(use: LaneUse, timeout_s: float) -> PyroError:
    waited = f"waited {timeout_s:g} s"
    if use is LaneUse.COMMAND:
        message = f"{COMMAND_LANES} commands are already running in this machine ({waited})"
    else:
        message = f"all connections to this machine's agent are in use ({waited})"
    return PyroError(ErrorCode.BUSY, message, hint="Try again when one has ended, or end one.")
