"""The process that forwards the published ports of one service.

It waits for a line on stdin before it begins, so it ends if its parent dies, and it ends with the service or the guest.
It has access only to a lane, a service's name and the listening sockets that it inherited.

    carrier.main([RUNTIME_DIR, VM_ID, SERVICE, RUN, FD:GUEST_PORT,…])

It answers with one line on stdout: "ok", or the error.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.agent.services import publish_request
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.errors import PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.vmm.transport import LaneTransport
from pyro_mcp.workspace.services.publishing.relay import Relay

READY = "ok"
_TIMEOUT_S = 10.0


def main(arguments: Sequence[str]) -> None:
    """Forward connections until the service or the guest ends."""
    runtime_dir, _, service, run, pairs = arguments
    if not sys.stdin.buffer.readline():
        return
    listeners: list[tuple[socket.socket, int]] = []
    for pair in pairs.split(","):
        fd, _, port = pair.partition(":")
        listeners.append((socket.socket(fileno=int(fd)), int(port)))
    try:
        with AgentSession.open(LaneTransport(Path(runtime_dir)), timeout_s=_TIMEOUT_S, use=LaneUse.COMMAND) as session:
            lane = session.hand_over(timeout_s=_TIMEOUT_S).socket
            relay = Relay(lane, listeners, lambda: _say(READY))
            relay.run(publish_request(service, run, tuple(port for _, port in listeners)))
    except PyroError as error:
        _say(error.message)
    except OSError as error:
        # The lane is broken: the guest has ended.
        _say(str(error))


def _say(line: str) -> None:
    """Print the only line of output, for the parent if it still listens."""
    try:
        os.write(1, line.replace("\n", " ").encode() + b"\n")
    except OSError:
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
