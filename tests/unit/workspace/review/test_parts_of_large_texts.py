"""The parts that a guest sends of large texts become hunks that git applies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyro_mcp.agent.file_values import ContentForm, DiffEntry, DiffPart, TreeDiff
from pyro_mcp.guest.tasks import changed_parts as module
from pyro_mcp.model.kinds import DiffChange
from pyro_mcp.workspace.review.composing import compose
from tests.support.thorough import examples
from tests.unit.guest.test_changed_parts import edited, parts_of
from tests.unit.patches.trees import git
from tests.unit.workspace.review.file_trees import a_file, side

FILES = 40


def entry_of(name: bytes, old: bytes, new: bytes, place: Path) -> DiffEntry:
    parts = parts_of(place, old, new)
    assert parts is not None
    sent = tuple(DiffPart(part.old_line, part.new_line, part.old, part.new) for part in parts)
    before, after = side(a_file(old)), side(a_file(new))
    return DiffEntry(name, DiffChange.MODIFIED, before, after, ContentForm.PARTS, sent)


def found_nothing(_pairs: object, _scratch: object) -> dict[int, bytes]:
    """Stand in for a `diff` that takes too long."""
    return {}


@pytest.mark.parametrize("seed", range(examples(60)))
@pytest.mark.parametrize("in_time", [True, False], ids=["by diff", "replaced"])
def test_git_makes_the_new_text_of_the_old_one(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, *, in_time: bool
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(module, "_WINDOWS_BYTES", (256, 1 << 20))
    if not in_time:
        monkeypatch.setattr("pyro_mcp.workspace.review.hunks._run_diff", found_nothing)
    entries: list[DiffEntry] = []
    texts: dict[str, bytes] = {}
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(FILES):
        # Few different lines, so that changes can be anywhere among them.
        variety = rng.choice([1, 2, 3, 1000])
        old = [b"%d\n" % rng.randint(0, variety) for _ in range(rng.randint(1, 200))]
        new = edited(rng, old) or [b"x\n"]
        name = f"f{number:03d}"
        (root / name).write_bytes(b"".join(old))
        texts[name] = b"".join(new)
        if new != old:
            entries.append(entry_of(name.encode(), b"".join(old), b"".join(new), tmp_path))
    changes = compose(TreeDiff(tuple(entries), len(entries), truncated=False), tmp_path / "scratch")
    done = git("apply", "--whitespace=nowarn", "-", cwd=root, stdin=changes.patch)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in root.iterdir()} == texts
