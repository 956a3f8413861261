"""The driver without a machine: the agent as a process of this host, in a private directory. It isolates nothing."""

from __future__ import annotations
