"""Points in time as results show them.

Owns the one form: UTC, ISO 8601, milliseconds. Refuses local time: results travel.
"""

from __future__ import annotations

import time


def utc_text(epoch_s: float) -> str:
    """Return a time (seconds since the epoch) as text, such as 2026-09-21T10:00:00.123Z."""
    whole, milliseconds = divmod(round(epoch_s * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"
