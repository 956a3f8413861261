"""The operations of the product: one row for each, from which every surface is derived.

Nothing here talks to a terminal, a chat host or a guest: surfaces are above it, verbs below.
"""

from __future__ import annotations
