"""Services: their processes, readiness checks, logs and the tunnels to their ports."""

from __future__ import annotations
