"""Lanes: the Unix sockets over which many processes at once talk to one guest.

Owns claiming a lane (a lock on `lanes/N.lock` of the runtime directory), connecting to it (`lN`) and giving it back.
Refuses to read or write: the bytes are the agent client's.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.sockets import connect_unix, listen_unix
from pyro_mcp.host.waiting import Deadline, wait_until
from pyro_mcp.vmm.driver import LANES

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from types import TracebackType
    from typing import Self

LOCKS = "lanes"
_LOOK_INTERVAL_S = 0.02


def lane_path(runtime_dir: Path, lane: int) -> Path:
    """Return the path of a lane's socket."""
    return runtime_dir / f"l{lane}"


def listen_lanes(runtime_dir: Path, lanes: int = LANES) -> list[socket.socket]:
    """Bind the lanes of a new machine, for the VMM to inherit. The caller closes its copies.

    Raises:
        PyroError: CONFLICT if a machine has been there before; PERMISSION and others.
    """
    listeners: list[socket.socket] = []
    try:
        # One by one: makedirs(3) gives its mode to the last directory alone.
        os.makedirs(runtime_dir, 0o700, exist_ok=True)
        os.makedirs(runtime_dir / LOCKS, 0o700, exist_ok=True)
        listeners.extend(listen_unix(lane_path(runtime_dir, lane)) for lane in range(lanes))
    except BaseException as error:
        for lane, listener in enumerate(listeners):
            listener.close()
            lane_path(runtime_dir, lane).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise from_os_error(error, f"make the lanes in {runtime_dir}") from error
        raise
    return listeners


class LaneConnection:
    """A connected lane, held until it is closed."""

    def __init__(self, connected: socket.socket, lock_fd: int) -> None:
        self._socket = connected
        self._lock_fd = lock_fd

    @property
    def socket(self) -> socket.socket:
        """Return the connected stream socket."""
        return self._socket

    def close(self) -> None:
        """Disconnect, then give the lane back, in this order: nobody else may connect while we still are."""
        self._socket.close()
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LaneTransport:
    """The way to the agent of the machine whose runtime directory is given."""

    def __init__(self, runtime_dir: Path, lanes: int = LANES) -> None:
        self._runtime_dir = runtime_dir
        self._lanes = lanes

    def connect(self, *, timeout_s: float) -> LaneConnection:
        """Claim a free lane and connect to it.

        Raises:
            PyroError: BUSY if every lane stays taken; GUEST_LOST if nobody listens any more; TIMEOUT.
        """
        deadline = Deadline(timeout_s, "the lane to take a connection")
        lock_fd = self._claim() or self._wait_for_claim(timeout_s)
        lane, fd = lock_fd
        try:
            return LaneConnection(self._dial(lane, deadline.remaining_s()), fd)
        except BaseException:
            os.close(fd)
            raise

    def _wait_for_claim(self, timeout_s: float) -> tuple[int, int]:
        try:
            return wait_until(self._claim, timeout_s=timeout_s, what="a free lane", interval_s=_LOOK_INTERVAL_S)
        except PyroError as error:
            if error.code is not ErrorCode.TIMEOUT:
                raise
            raise PyroError(
                ErrorCode.BUSY,
                f"all {self._lanes} lanes of the machine in {self._runtime_dir} were in use for {timeout_s:g} s",
                hint="Wait until one of the commands running in this VM has finished, or end one.",
                details={"lanes": self._lanes},
            ) from None

    def _claim(self) -> tuple[int, int] | None:
        """Take the lock of the first free lane: (lane, descriptor), or None if none is free."""
        for lane in range(self._lanes):
            fd = self._open_lock(lane)
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

    def _open_lock(self, lane: int) -> int:
        path = self._runtime_dir / LOCKS / f"{lane}.lock"
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
            hint="Ask for its status; start it again, or create another.",
        )
