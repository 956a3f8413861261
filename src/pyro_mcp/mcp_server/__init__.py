"""The MCP server, derived from the table of operations.

Only what serves MCP may import it: its dependencies take most of a second to load.
"""

from __future__ import annotations

from pyro_mcp.mcp_server.server import create_server

__all__ = ["create_server"]
