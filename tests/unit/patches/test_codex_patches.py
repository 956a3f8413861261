"""Codex's patch format: adds, updates, moves and deletes, without line numbers."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode
from pyro_mcp.patches import Action, Delete, Write
from tests.unit.patches.trees import MemoryTree, applied, planned, refusal

FILES = {
    "f.py": b"class A:\n    def run(self):\n        x = 1\n        y = 2\n\nz = 3\n",
    "old.txt": b"\xff\x00",
    "e": b"",
}


def envelope(text: str) -> str:
    return f"*** Begin Patch\n{text}*** End Patch\n"


def test_one_patch_adds_updates_moves_and_deletes() -> None:
    patch = envelope(
        "*** Add File: pkg/new.py\n+import os\n+\n+print(1)\n"
        "*** Update File: f.py\n*** Move to: lib/f.py\n"
        "@@ class A:\n@@     def run(self):\n-        x = 1\n+        x = 10\n"
        "*** Delete File: old.txt\n"
    )
    plan = planned(patch, MemoryTree(FILES, {"f.py": 0o755}))
    assert plan.changes == (
        Delete("f.py"),
        Delete("old.txt"),
        Write("lib/f.py", FILES["f.py"].replace(b"x = 1", b"x = 10"), 0o755, created=True),
        Write("pkg/new.py", b"import os\n\nprint(1)\n", 0o644, created=True),
    )
    assert [file.action for file in plan.files] == [Action.CREATE, Action.RENAME, Action.DELETE]


def test_several_hunks_need_no_line_numbers() -> None:
    patch = envelope("*** Update File: f.py\n@@\n-        y = 2\n+        y = 20\n@@\n \n-z = 3\n+z = 30\n")
    assert applied(patch, FILES)["f.py"] == FILES["f.py"].replace(b"y = 2", b"y = 20").replace(b"z = 3", b"z = 30")


def test_the_first_hunk_needs_no_header() -> None:
    patch = envelope("*** Update File: f.py\n-z = 3\n+z = 30\n")
    assert applied(patch, FILES)["f.py"] == FILES["f.py"].replace(b"z = 3", b"z = 30")


def test_a_hunk_at_the_end_of_the_file_is_placed_there() -> None:
    patch = envelope("*** Update File: f\n@@\n-x\n+y\n*** End of File\n")
    assert applied(patch, {"f": b"x\nx\nx\n"}) == {"f": b"x\nx\ny\n"}


def test_added_lines_at_the_end_of_the_file_need_nothing_around_them() -> None:
    patch = envelope("*** Update File: f\n@@\n+y\n*** End of File\n")
    assert applied(patch, {"f": b"x\n"}) == {"f": b"x\ny\n"}
    assert applied(patch, {"f": b"x"}) == {"f": b"x\ny"}


def test_an_empty_file_may_be_added() -> None:
    patch = envelope("*** Add File: a/__init__.py\n\n*** Add File: b/__init__.py\n")
    assert applied(patch, {}) == {"a/__init__.py": b"", "b/__init__.py": b""}


def test_empty_lines_of_a_new_file_may_have_lost_their_plus() -> None:
    assert applied(envelope("*** Add File: f\n\n+a\n\n+b\n\n"), {}) == {"f": b"\na\n\nb\n"}


def test_a_file_is_moved_without_a_change() -> None:
    patch = envelope("*** Update File: old.txt\n*** Move to: new.txt\n")
    assert planned(patch, MemoryTree(FILES)).changes == (
        Delete("old.txt"),
        Write("new.txt", b"\xff\x00", 0o644, created=True),
    )


def test_names_have_no_prefix_here() -> None:
    patch = envelope("*** Update File: a/f\n@@\n-x\n+y\n")
    assert applied(patch, {"a/f": b"x\n", "f": b"x\n"}) == {"a/f": b"y\n", "f": b"x\n"}
    assert refusal(patch, {"f": b"x\n"}).message == "a/f: the file is not there"


def test_two_envelopes_are_two_parts_of_one_patch() -> None:
    patch = envelope("*** Add File: f\n+x\n") + "Then:\n" + envelope("*** Add File: g\n+y\n")
    assert applied(f"Sure.\n\n```\n{patch}```\n", {}) == {"f": b"x\n", "g": b"y\n"}


def test_a_code_block_ends_a_patch_that_has_no_last_line() -> None:
    assert applied("```\n*** Update File: f\n@@\n-x\n+y\n```\nDone:\n- f\n", {"f": b"x\n"}) == {"f": b"y\n"}


REFUSED = {
    "lines of a new file without their plus": (
        "*** Add File: q\nhello\n",
        'line 3 of the patch ("hello") belongs to no hunk of a file',
    ),
    "lines after a deleted file": (
        "*** Delete File: f\n-x\n",
        'line 3 of the patch ("-x") belongs to no hunk of a file',
    ),
    "lines between hunks": (
        "*** Update File: f\n@@\n-x\n+y\nand\n+z\n",
        'f: hunk 1: line 6 of the patch ("and") ends the hunk',
    ),
    "an update of nothing": ("*** Update File: f\n", 'line 2 of the patch names "f" but no change of it follows'),
    "a new file with removed lines": (
        "*** Add File: q\n-x\n",
        "q: the patch creates the file, but its hunk has lines that do not begin with +",
    ),
    "no file": ("*** Add File: /dev/null\n+x\n", "line 2 of the patch names /dev/null"),
    "a unified diff after it": (
        "*** Delete File: f\n*** End Patch\n--- a/g\n+++ b/g\n@@ @@\n-x\n+y\n",
        'line 6 of the patch ("@@ @@") belongs to no hunk of a file',
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_understood_is_refused_with_its_line(text: str, message: str) -> None:
    error = refusal(envelope(text), {"f": b"x\n"})
    assert error.code is ErrorCode.INVALID
    assert error.message.startswith(message)


def test_a_hunk_that_fits_twice_is_refused_although_codex_takes_the_first() -> None:
    error = refusal(envelope("*** Update File: f\n@@\n-x\n+y\n"), {"f": b"x\n-\nx\n"})
    assert error.details["reason"] == "ambiguous"


def test_added_lines_below_a_heading_alone_are_refused_although_codex_appends_them() -> None:
    error = refusal(envelope("*** Update File: f\n@@ x\n+y\n"), {"f": b"x\nz\n"})
    assert error.details["reason"] == "unplaced"


def test_a_file_to_add_that_is_there_is_refused_although_codex_replaces_it() -> None:
    assert refusal(envelope("*** Add File: f\n+y\n"), {"f": b"x\n"}).details["reason"] == "exists"
