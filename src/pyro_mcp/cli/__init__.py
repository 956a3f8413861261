"""The command line, derived from the table of operations."""

from __future__ import annotations
