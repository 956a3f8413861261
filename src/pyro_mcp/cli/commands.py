"""All commands with their summaries: those of operations, and those that only the command line has.

Loaded by `pyro --help`, which is to be fast: no request, no dataclass.
"""

from __future__ import annotations

from pyro_mcp.operations import table

BUILTINS = {
    "completion": "Print a shell completion script.",
    "workspace shell attach": "Attach your terminal to a shell.",
    "mcp serve": "Serve MCP over stdio, for a chat host.",
}
# By the words that several commands begin with; those within a group come after it.
GROUPS = {**table.GROUPS, "mcp": "Chat hosts: the MCP server."}
SUMMARIES = {**table.SUMMARIES, **BUILTINS}
