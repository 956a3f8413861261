"""Processes of the agent: fork one in advance, and turn it into a command, a task or a shell."""

from __future__ import annotations
