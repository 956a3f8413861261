"""Durations and sizes as people write them: 90s, 5m, 1h30m; 512m, 2g."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

_DURATION = re.compile(r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?", re.ASCII)
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([mgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_MEBIBYTES = {"": 1, "m": 1, "g": 1024, "t": 1024 * 1024}
_MAX_CHARS = 20


def seconds(text: str) -> float | None:
    """Return a duration in seconds, a whole number if it is one; None for `none`."""
    if text == "none":
        return None
    found = _DURATION.fullmatch(text) if 0 < len(text) <= _MAX_CHARS else None
    if found is None:
        raise ArgumentTypeError(f"{text[:40]!r} is not a duration such as 90s, 5m or 1h30m")
    total = 0.0 + sum(float(number) * _SECONDS[unit] for unit, number in found.groupdict(default="0").items())
    return int(total) if total.is_integer() else total


def mebibytes(text: str) -> int:
    """Return a size in MiB, rounded down; a number without a unit is in MiB."""
    found = _SIZE.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        raise ArgumentTypeError(f"{text[:40]!r} is not a size such as 512m or 2g")
    return int(float(found[1]) * _MEBIBYTES[found[2].lower()])


def brief_age(age_s: float) -> str:
    """Return an age in its largest unit: 12s, 5m, 3h, 2d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if age_s >= length:
            return f"{int(age_s // length)}{unit}"
    return f"{max(0, int(age_s))}s"
