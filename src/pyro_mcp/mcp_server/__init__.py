"""The MCP server, derived from the table of operations.

Owns tools, their schemas and the stdio transport. Refuses to be imported by anything that does not serve MCP: what it
stands on costs most of a second to load.
"""

from __future__ import annotations

from pyro_mcp.mcp_server.server import create_server

__all__ = ["create_server"]
