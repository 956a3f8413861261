"""The operations of the product: one row each, from which every surface is derived.

Nothing here talks to a terminal, a chat host or a guest: surfaces are above this layer, verbs below.
"""

from __future__ import annotations
