"""Unix sockets at paths of any length.

A path longer than the 108 bytes of `sun_path` (unix(7)) is accessed through a descriptor of its directory.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.files import closing_fd

MAX_ADDRESS_BYTES = 107


@contextmanager
def unix_address(path: Path) -> Generator[str]:
    """Yield an address for `path` that fits into `sun_path`, valid in this process within the block."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield os.fspath(path)
        return
    with closing_fd(os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as directory:
        address = f"/proc/self/fd/{directory}/{path.name}"
        if len(os.fsencode(address)) > MAX_ADDRESS_BYTES:
            raise PyroError(ErrorCode.INVALID, f"the socket name {path.name} is too long", hint="Use a shorter name.")
        yield address


def listen_unix(path: Path, backlog: int = 1, *, replaces_stale: bool = False) -> socket.socket:
    """Return a stream socket that listens at `path`, mode 0600, not inherited by children.

    With `replaces_stale`, an existing socket without a listener is removed first.

    Raises:
        PyroError: CONFLICT if the path exists; PERMISSION and others.
    """
    if replaces_stale and _is_stale(path):
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            listener.bind(address)
            os.chmod(address, 0o600)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PyroError(ErrorCode.CONFLICT, f"{path} already exists", hint="Another process uses it.") from error
        raise from_os_error(error, f"listen at {path}") from error
    except BaseException:
        listener.close()
        raise
    return listener


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """Return a blocking stream socket connected to `path`, not inherited by children.

    Raises:
        PyroError: UNAVAILABLE if no process listens there; TIMEOUT if it does not accept within `timeout_s`.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # With a full backlog, connect() blocks, or fails immediately on a non-blocking socket; the send timeout limits
        # how long it blocks (socket(7)).
        _set_send_timeout(connection, max(timeout_s, 0.001))
        with unix_address(path) as address:
            connection.connect(address)
        _set_send_timeout(connection, 0)
    except BlockingIOError:
        connection.close()
        raise PyroError(
            ErrorCode.TIMEOUT, f"waited {timeout_s:g} s for the listener at {path} to accept a connection"
        ) from None
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise PyroError(
            ErrorCode.UNAVAILABLE, f"no process listens at {path}", details={"errno": error.errno or 0}
        ) from error
    except OSError as error:
        connection.close()
        raise from_os_error(error, f"connect to {path}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _set_send_timeout(connection: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _is_stale(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    try:
        connect_unix(path, 1.0).close()
    except PyroError as error:
        return error.code is ErrorCode.UNAVAILABLE
    return False
