"""Find moved files: removed at one path and added at another, with the same content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import OPEN_FILE
from pyro_mcp.guest.tasks.ignoring import STRAIGHT

# Reading is bounded: a rename that is not detected is reported as a removal and an addition.
_MAX_COMPARED = 1000
_MAX_COMPARED_BYTES = 256 * 1024 * 1024


def moved_files(
    gone: Iterable[tuple[bytes, int]],
    added: Iterable[tuple[bytes, int]],
    is_same: Callable[[int, int], bool],
    old: int,
    new: int,
) -> dict[bytes, bytes]:
    """Return the former path of each moved file.

    `gone` and `added` are paths below the roots `old` and `new`, with sizes; `is_same` compares two open files.
    """
    sources: dict[int, list[bytes]] = {}
    for path, size in gone:
        sources.setdefault(size, []).append(path)
    found: dict[bytes, bytes] = {}
    compared, room = 0, _MAX_COMPARED_BYTES
    for path, size in sorted(added):
        # Candidates with the same name come first.
        name = path.rpartition(b"/")[2]
        candidates = sources.get(size, []) if size else []
        for source in sorted(candidates, key=lambda each: (each.rpartition(b"/")[2] != name, each)):
            compared, room = compared + 1, room - size
            if compared > _MAX_COMPARED or room < 0:
                return found
            if _has_same_content(old, source, new, path, is_same):
                found[path] = source
                candidates.remove(source)
                break
    return found


def _has_same_content(old: int, source: bytes, new: int, path: bytes, is_same: Callable[[int, int], bool]) -> bool:
    fds: list[int] = []
    try:
        for root, each in ((old, source), (new, path)):
            fds.append(syscalls.openat2(root, each, OPEN_FILE | os.O_NOFOLLOW, STRAIGHT))
        return is_same(*fds)
    except OSError:
        return False
    finally:
        for fd in fds:
            os.close(fd)
