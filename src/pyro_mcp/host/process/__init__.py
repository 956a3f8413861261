"""Start, watch and end processes. No other package does."""

from __future__ import annotations

from pyro_mcp.host.process.child import DEVNULL, PIPE, STDOUT, Child, start
from pyro_mcp.host.process.end import kill, reap_detached, send_signal, wait_for_exit
from pyro_mcp.host.process.identity import ProcessIdentity, boot_id, start_time
from pyro_mcp.host.process.lifeline import lifeline
from pyro_mcp.host.process.run import Completed, run, stream

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Child",
    "Completed",
    "ProcessIdentity",
    "boot_id",
    "kill",
    "lifeline",
    "reap_detached",
    "run",
    "send_signal",
    "start",
    "start_time",
    "stream",
    "wait_for_exit",
]
