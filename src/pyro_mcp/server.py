"""`create_server` under the name of its module before version 5."""

from __future__ import annotations

from pyro_mcp.mcp_server.server import create_server

__all__ = ["create_server"]
