"""The MCP server: a surface over the operations table.

Owns tools, their schemas and their results. Refuses to decide anything that another surface would decide too.
"""
