"""What the product does: one row for each operation, from which every surface is derived.

Owns the table, the requests, the results, the handlers, and which tools each profile shows. Refuses to speak to a
terminal, to a chat host or to a guest: surfaces stand above it, verbs below.
"""

from __future__ import annotations
