"""Parts of two texts, put into the old one, make the new one."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.guest.tasks import changed_parts as module
from pyro_mcp.guest.tasks.changed_parts import Part, changed_parts
from tests.support.thorough import examples

if TYPE_CHECKING:
    from pathlib import Path


def parts_of(place: Path, old: bytes, new: bytes, *, max_bytes: int = 1 << 30) -> list[Part] | None:
    fds: list[int] = []
    for name, data in (("old", old), ("new", new)):
        (place / name).write_bytes(data)
        fds.append(os.open(place / name, os.O_RDONLY))
    try:
        return changed_parts(fds[0], fds[1], max_bytes=max_bytes, max_parts=1000)
    finally:
        for fd in fds:
            os.close(fd)


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def rebuilt(old: bytes, parts: list[Part]) -> bytes:
    lines, made, at = lines_of(old), list[bytes](), 0
    for part in parts:
        start, removed = part.old_line - 1, lines_of(part.old)
        assert start >= at
        made += lines[at:start]
        assert part.new_line == len(made) + 1
        assert lines[start : start + len(removed)] == removed
        made += lines_of(part.new)
        at = start + len(removed)
    return b"".join(made + lines[at:])


def edited(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    lines = list(lines)
    for _ in range(rng.randint(0, 5)):
        at = rng.randint(0, len(lines))
        match rng.randint(0, 3):
            case 0:
                lines[at:at] = [b"%d\n" % rng.randint(0, 5) for _ in range(rng.randint(1, 40))]
            case 1:
                del lines[at : at + rng.randint(1, 40)]
            case 2:
                lines[at : at + 1] = [b"changed\n"]
            case _:
                lines = lines[at:] + lines[:at] if rng.random() < 0.1 else lines
    if lines and rng.random() < 0.3:
        lines[-1] = lines[-1].rstrip(b"\n")
    return [line for line in lines if line]


@pytest.mark.parametrize("seed", range(examples(300)))
def test_any_edits_are_in_the_parts(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(module, "_CHUNK_BYTES", rng.choice([1, 3, 64, 4096]))
    monkeypatch.setattr(module, "_CONTEXTS_BYTES", rng.choice([(16, 64), (4096,)]))
    monkeypatch.setattr(module, "_WINDOWS_BYTES", (64, 512, 1 << 20))
    variety = rng.choice([2, 5, 1000])
    old = [b"%d\n" % rng.randint(0, variety) for _ in range(rng.randint(0, 300))]
    new = edited(rng, old)
    if rng.random() < 0.2 and old:
        old[-1] = old[-1].rstrip(b"\n") or b"x"
    before, after = b"".join(old), b"".join(new)
    parts = parts_of(tmp_path, before, after)
    assert parts is not None
    assert rebuilt(before, parts) == after
    assert bool(parts) == (before != after)


def test_a_part_is_as_small_as_the_change(tmp_path: Path) -> None:
    lines = [b"line %d\n" % number for number in range(100_000)]
    new = [*lines[:10], b"one\n", *lines[10:50_000], *lines[50_002:-1], b"last"]
    parts = parts_of(tmp_path, b"".join(lines), b"".join(new))
    assert parts is not None
    assert [(part.old_line, part.new_line) for part in parts] == [(1, 1), (49_991, 49_992), (99_990, 99_989)]
    assert all(len(lines_of(part.old)) + len(lines_of(part.new)) < 45 for part in parts)


def test_more_than_there_is_room_for_is_none(tmp_path: Path) -> None:
    assert parts_of(tmp_path, b"a\n" * 1000, b"b\n" * 1000, max_bytes=100) is None
