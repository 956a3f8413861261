"""Processes of the agent: how one is forked and becomes a command, a task or a shell, and the one that waits."""

from __future__ import annotations
