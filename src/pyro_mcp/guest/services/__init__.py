"""Services: processes, readiness checks, logs, and tunnels to their ports."""

from __future__ import annotations
