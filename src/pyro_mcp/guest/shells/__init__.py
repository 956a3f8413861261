"""Shells: open them, read from them and attach to them."""

from __future__ import annotations
