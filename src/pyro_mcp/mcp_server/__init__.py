"""The MCP server, derived from the table of operations.

The SDK takes most of a second to load, so `server` and what it is made of are imported only where a call is served;
`serve` and `first_answers` do without.
"""
