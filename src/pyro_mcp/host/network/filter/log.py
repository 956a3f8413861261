"""Read what a guest tried to reach, as haproxy and dnsmasq logged it.

The names in it come from the guest, and the files were written by processes that parse the guest's packets: every line
is untrusted. Files are numbered, and the oldest are removed; a position in them is a file's number and an offset.
"""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyro_mcp.host.network.filter.supervisor import KEPT_LOG_FILES, MAX_LOG_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = re.compile(r"log\.([0-9]{1,12})")
_OFFSET_BITS = 32
_MAX_FILE_BYTES = MAX_LOG_FILE_BYTES + 64 * 1024
_MAX_NAME_CHARS = 255
_TCP_FIELDS = 9
# `Dec  1 02:03:04 dnsmasq[5182]: 4 192.0.0.2/34360 query[A] other.test from 192.0.0.2`
_DNS = re.compile(
    r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}) dnsmasq\[[0-9]+\]: (?P<serial>[0-9]+) [^ ]+"
    r" (?:query\[[^ \]]*\] (?P<asked>[^ ]+) from [^ ]+|config (?P<name>.+) is (?P<answer>NXDOMAIN|REFUSED)\b.*)"
)
_SHOWN = re.compile(r"[^a-z0-9._:\-]")
_REASONS = frozenset({"host", "address", "no_name", "hidden_name", "no_address", "tunnel", "protocol", "inside"})


@dataclass(frozen=True, slots=True)
class NetworkAttempt:
    """One attempt of a guest to reach a host.

    `time` is in seconds since the epoch. `host` is the name, or the address where there was none. `protocol` is tls,
    http, tcp or dns; `rule` the rule that decided, or None. `bytes_sent` are the guest's.
    """

    time: float
    host: str
    address: str | None
    port: int | None
    protocol: str
    is_allowed: bool
    rule: str | None
    reason: str | None
    bytes_sent: int
    bytes_received: int


def next_index(directory: Path) -> int:
    """Return the number of the next log file, and remove the files that are too old to be kept."""
    indexes = _indexes(directory)
    for index in indexes[: -(KEPT_LOG_FILES - 1)]:
        with suppress(OSError):
            (directory / f"log.{index}").unlink()
    return indexes[-1] + 1 if indexes else 0


def log_end(directory: Path) -> int:
    """Return the position of the end of the log."""
    indexes = _indexes(directory)
    if not indexes:
        return 0
    try:
        size = os.stat(directory / f"log.{indexes[-1]}", follow_symlinks=False).st_size
    except OSError:
        size = 0
    return indexes[-1] << _OFFSET_BITS | min(size, _MAX_FILE_BYTES)


def read_log(directory: Path, since: int = 0) -> tuple[list[NetworkAttempt], int]:
    """Return the attempts that were logged after a position, in order, and the position of the end.

    Positions grow. What was removed in between is missing; a line that is being written is left for the next call.
    """
    first, offset = since >> _OFFSET_BITS, since & ((1 << _OFFSET_BITS) - 1)
    found: list[NetworkAttempt] = []
    asked: dict[str, str] = {}
    end = since
    for index in _indexes(directory):
        if index < first:
            continue
        start = offset if index == first else 0
        text = _read(directory, index, start)
        whole = text[: text.rfind(b"\n") + 1]
        found += _attempts(whole.decode("utf-8", "replace").splitlines(), asked)
        end = index << _OFFSET_BITS | start + len(whole)
    return found, end


def has_mark(directory: Path, mark: str, since: int) -> bool:
    """Return whether a mark was written to the log after a position."""
    first, offset = since >> _OFFSET_BITS, since & ((1 << _OFFSET_BITS) - 1)
    wanted = f"mark {mark}\n".encode()
    return any(
        wanted in _read(directory, index, offset if index == first else 0)
        for index in _indexes(directory)
        if index >= first
    )


def _indexes(directory: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(match[1]) for name in os.listdir(directory) if (match := _FILE.fullmatch(name)))
    return []


def _read(directory: Path, index: int, offset: int) -> bytes:
    """Return a file's bytes from an offset, if it is a regular file."""
    with suppress(OSError):
        fd = os.open(directory / f"log.{index}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with closing(os.fdopen(fd, "rb", buffering=0)) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.seek(min(offset, _MAX_FILE_BYTES))
                return file.read(_MAX_FILE_BYTES) or b""
    return b""


def _attempts(lines: list[str], asked: dict[str, str]) -> Iterator[NetworkAttempt]:
    last_refused = ""
    for line in lines:
        if line.startswith("tcp "):
            attempt = _tcp_attempt(line.split(" "))
            if attempt is not None:
                yield attempt
            continue
        match = _DNS.fullmatch(line)
        if match is None:
            continue
        if match["asked"]:
            asked[match["serial"]] = _name(match["asked"].lower())
            continue
        name = asked.get(match["serial"], "")
        refusal = f"{match['time']} {name}"
        # A resolver asks for both kinds of addresses.
        if name and refusal != last_refused:
            last_refused = refusal
            yield NetworkAttempt(_dns_time(match["time"]), name, None, None, "dns", False, None, "host", 0, 0)


def _tcp_attempt(fields: list[str]) -> NetworkAttempt | None:
    # tcp TIME VERDICT KIND ADDRESS PORT HEX-NAME SENT RECEIVED RULE REASON
    try:
        _, at, verdict, kind, address, port, hex_name, sent, received = fields[:_TCP_FIELDS]
        rule, reason = fields[_TCP_FIELDS : _TCP_FIELDS + 2]
        is_allowed = verdict == "allowed"
        name = "" if hex_name == "-" else _name(bytes.fromhex(hex_name).decode("utf-8", "replace"))
        return NetworkAttempt(
            time=float(at),
            host=name or address,
            address=address,
            port=int(port),
            protocol=kind if kind in {"tls", "http"} else "tcp",
            is_allowed=is_allowed,
            rule=rule.partition(":")[2] or None,
            # haproxy assumes one for every TLS client before it knows better.
            reason=reason if reason in _REASONS and not is_allowed else None,
            bytes_sent=int(sent),
            bytes_received=int(received),
        )
    except ValueError:
        return None


def _name(text: str) -> str:
    """Return a host name that is safe to show."""
    return _SHOWN.sub("?", text[:_MAX_NAME_CHARS])


def _dns_time(text: str) -> float:
    """Return the time of a line of dnsmasq, which leaves out the year and is in UTC here."""
    now = time.time()
    year = datetime.fromtimestamp(now, UTC).year
    for candidate in (year, year - 1):
        with suppress(ValueError):
            at = datetime.strptime(f"{candidate} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC).timestamp()
            if at < now + 86400:
                return at
    return now
