"""The host's client for the guest agent. The agent is not trusted."""

from __future__ import annotations

from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.messages import (
    ExecRequest,
    ExecResult,
    Flavour,
    GuestConfig,
    GuestInfo,
    RootDisk,
    Stream,
)
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.host.output import OutputBuffer
from pyro_mcp.host.transport import Connection, Transport

__all__ = [
    "AgentSession",
    "CancelToken",
    "Connection",
    "ExecRequest",
    "ExecResult",
    "Flavour",
    "GuestConfig",
    "GuestInfo",
    "OutputBuffer",
    "RootDisk",
    "Stream",
    "Transport",
]
