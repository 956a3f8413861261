"""Fault points: named places where a test can make the process die, stop or fail.

`PYRO_FAULT_POINT` is `name[:action[:hit]]`, or several of these separated by commas. Actions: `kill` (SIGKILL, the
default), `stop` (SIGSTOP), `raise` (PyroError, code internal) and `no_space` (OSError ENOSPC). `hit` counts from 1,
default 1. `PYRO_FAULT_TRACE` is a file to which the name of every point passed is appended, so that a test can list the
points of an operation and then fail at each of them.
"""

from __future__ import annotations

import errno
import os
import signal

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import closing_fd

ARMED_VARIABLE = "PYRO_FAULT_POINT"
TRACE_VARIABLE = "PYRO_FAULT_TRACE"

_hits: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Mark a step at which the process may be made to fail. Does nothing unless armed."""
    armed = os.environ.get(ARMED_VARIABLE)
    trace = os.environ.get(TRACE_VARIABLE)
    if armed is None and trace is None:
        return
    if trace:
        _append(trace, name)
    for entry in (armed or "").split(","):
        point, _, rest = entry.strip().partition(":")
        if point == name:
            action, _, hit = rest.partition(":")
            _hits[name] = _hits.get(name, 0) + 1
            if _hits[name] == int(hit or "1"):
                _act(name, action or "kill")


def forget_hits() -> None:
    """Start counting hits from zero, for tests that arm points inside their own process."""
    _hits.clear()


def _append(path: str, name: str) -> None:
    with closing_fd(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)) as fd:
        os.write(fd, f"{name}\n".encode())


def _act(name: str, action: str) -> None:
    match action:
        case "kill":
            signal.raise_signal(signal.SIGKILL)
        case "stop":
            signal.raise_signal(signal.SIGSTOP)
        case "raise":
            raise PyroError(ErrorCode.INTERNAL, f"fault point {name} was armed to raise")
        case "no_space":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"fault point {name}")
        case _:
            raise PyroError(
                ErrorCode.USAGE,
                f"{ARMED_VARIABLE} has an unknown action for {name}: {action!r}",
                hint="The actions are kill, stop, raise and no_space.",
            )
