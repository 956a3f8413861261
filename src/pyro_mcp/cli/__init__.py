"""The command line, derived from the table of operations.

Owns parsing, output, exit statuses and signals. Refuses to do anything itself: each command is a row's handler.
"""

from __future__ import annotations
