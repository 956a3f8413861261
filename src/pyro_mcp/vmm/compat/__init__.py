"""Host compat: the driver that runs the agent as a process of this host, without any isolation."""

from __future__ import annotations
