"""The Python SDK: a surface over the operations table.

Owns the typed methods of `Pyro`. Refuses to decide anything that another surface would decide too.
"""
