"""Start the process that forwards a service's published ports.

It exists before the service does and begins when told to. If its parent dies before the service's record names it, it
ends too.
"""

from __future__ import annotations

import os
import select
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process, programs
from pyro_mcp.host.process import Child
from pyro_mcp.host.process.own_python import own_python
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.service import PublishedPort
from pyro_mcp.model.vm import Owner
from pyro_mcp.workspace.services.publishing.listening import listen

_CARRY = "pyro_mcp.workspace.services.publishing.carrier:main"
_READY = b"ok"
_START_TIMEOUT_S = 20.0
_MAX_LINE_BYTES = 4096


class Publisher:
    """The process, waiting for the command to begin."""

    def __init__(self, child: Child, ports: tuple[PublishedPort, ...]) -> None:
        self._child = child
        self.ports = ports

    @property
    def owner(self) -> Owner:
        """Return what tells the process apart, for the service's record."""
        return Owner(self._child.pid, self._child.start_time, process.boot_id())

    def begin(self) -> None:
        """Have it take connections, and wait until it does.

        Raises:
            PyroError: UNAVAILABLE, saying what keeps it from that; TIMEOUT.
        """
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - it was started with pipes
        try:
            os.write(stdin, b"begin\n")
        except BrokenPipeError:
            raise _refused("its helper process has ended") from None
        deadline = Deadline(_START_TIMEOUT_S, "the published ports to take connections")
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
            poller = select.poll()
            poller.register(stdout, select.POLLIN)
            if not poller.poll(deadline.remaining_s() * 1000):
                deadline.check()
                continue
            data = os.read(stdout, _MAX_LINE_BYTES)
            if not data:
                break
            line += data
        if line.strip() != _READY:
            words = line.decode("utf-8", "replace").strip()
            raise _refused(words if words.isprintable() and words else "its helper process has ended")


@contextmanager
def publisher(
    runtime_dir: str, vm_id: str, service: str, run: str, ports: Sequence[PublishedPort]
) -> Generator[Publisher]:
    """Take the ports of this host, and start the process that will carry them; a block that fails ends it.

    Raises:
        PyroError: CONFLICT if a port is taken; PERMISSION, UNAVAILABLE, MISSING_PROGRAM.
    """
    with ExitStack() as stack:
        listeners = listen(ports, stack)
        pairs = ",".join(f"{listener.fileno()}:{port.guest}" for listener, port in listeners)
        child = process.start(
            own_python(_CARRY, runtime_dir, vm_id, service, run, pairs),
            # Nothing of the caller's environment: it may hold secrets, and the process outlives the caller.
            env={"PATH": os.pathsep.join(programs.search_path())},
            cwd="/",
            stdin=process.PIPE,
            stdout=process.PIPE,
            pass_fds=[listener.fileno() for listener, _ in listeners],
            umask=0o077,
            detached=True,
        )
        with child:
            yield Publisher(child, tuple(port for _, port in listeners))


def _refused(why: str) -> PyroError:
    return PyroError(
        ErrorCode.UNAVAILABLE,
        f"the ports can't be published: {why}",
        hint="Start the service again; its log may say more.",
    )
