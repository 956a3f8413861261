"""Output of the command line, written straight to descriptors 1 and 2.

`sys.stdout` is not used: its buffer would be flushed at exit into a closed pipe.
"""

from __future__ import annotations

import os
import sys

from pyro_mcp.errors import from_os_error

STDIN, STDOUT, STDERR = 0, 1, 2


class ReaderGone(Exception):  # noqa: N818 - it is no error: `pyro … | head` ends this way
    """Raised when the reader of our output has closed it."""


def ensure_standard_streams() -> None:
    """Open each of the three standard descriptors that is closed on /dev/null, and its object in `sys`.

    Otherwise the next opened file would become our stdout and be written to. Python also uses None for a stream whose
    descriptor was closed at start, on which `isatty` and `fileno` fail.
    """
    for fd, name in ((STDIN, "stdin"), (STDOUT, "stdout"), (STDERR, "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            stream = open(fd, "w" if fd else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)


def write(fd: int, data: bytes) -> None:
    """Write all of `data`.

    Raises:
        ReaderGone: the reader has closed its end.
        PyroError: the write fails, for example because the device is full.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BrokenPipeError:
            raise ReaderGone from None
        except BlockingIOError:
            _await_writable(fd)
        except OSError as error:
            raise from_os_error(error, f"write to {'stdout' if fd == STDOUT else 'stderr'}") from error


def say(text: str) -> None:
    """Write a line for a person to stderr; ignore a closed reader."""
    from pyro_mcp.errors import PyroError

    try:
        write(STDERR, (text + "\n").encode("utf-8", "backslashreplace"))
    except (ReaderGone, PyroError):
        return


def put(text: str) -> None:
    """Write a result for a person to stdout, ending with a newline."""
    if text:
        write(STDOUT, (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


def put_alone(text: str, *, ends_line: bool) -> None:
    """Write a single requested value: unchanged to a file or pipe, made harmless on a terminal."""
    if os.isatty(STDOUT):
        from pyro_mcp.operations.printable import printable

        text = printable(text)
    write(STDOUT, (text + "\n" * ends_line).encode("utf-8", "backslashreplace"))


def put_json(document: object) -> None:
    """Write the one JSON document of a command. Control and non-ASCII characters are escaped."""
    import json

    write(STDOUT, (json.dumps(document, indent=2) + "\n").encode("ascii"))


def colourful(fd: int) -> bool:
    """Return whether to use colour: on a terminal that supports it, unless NO_COLOR is set."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, code: str, fd: int) -> str:
    """Return `text` in the colour `code` (an SGR number) if that stream shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(fd) else text


def _await_writable(fd: int) -> None:
    # The descriptor may be non-blocking, shared with the process that started us: wait instead of losing bytes.
    import select

    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    poller.poll()
