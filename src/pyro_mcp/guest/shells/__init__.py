"""Shells, and reading from and attaching to them."""

from __future__ import annotations
