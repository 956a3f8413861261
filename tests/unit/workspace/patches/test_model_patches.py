"""Patches as models write them: each applies exactly as it is meant."""

from __future__ import annotations

import pytest

from pyro_mcp.workspace.patches import Patch, parse
from tests.unit.workspace.patches.trees import MemoryTree, applied, planned

APP = b"""\
import os

def total(items):
    s = 0
    for item in items:
        s += item
    return s

def count(items):
    s = 0
    for item in items:
        s += 1
    return s
"""
FIXED = APP.replace(b"s += item", b"s += item.price")
FILES = {
    "src/app.py": APP,
    "notes.md": b"# Notes\n\nOne.\n",
    "end.txt": b"one\ntwo",
    "dos.txt": b"one\r\ntwo\r\nthree\r\n",
}

MEANT_AS_THE_SAME = {
    "as git writes it": """\
diff --git a/src/app.py b/src/app.py
index 3f2a1b0..9c8d7e6 100644
--- a/src/app.py
+++ b/src/app.py
@@ -3,7 +3,7 @@ import os
 def total(items):
     s = 0
     for item in items:
-        s += item
+        s += item.price
     return s
\x20
 def count(items):
""",
    "no prefixes": """\
--- src/app.py
+++ src/app.py
@@ -5,2 +5,2 @@
     for item in items:
-        s += item
+        s += item.price
""",
    "other prefixes": """\
--- old/src/app.py
+++ new/src/app.py
@@ -5,2 +5,2 @@
     for item in items:
-        s += item
+        s += item.price
""",
    "git's mnemonic prefixes": """\
diff --git i/src/app.py w/src/app.py
--- i/src/app.py
+++ w/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "one prefix for both names": """\
--- a/src/app.py
+++ a/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "a prefix on one name only": """\
--- src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "a dot before the names": """\
--- ./src/app.py
+++ ./src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "the directory of the repository before the names": """\
--- myrepo/src/app.py
+++ myrepo/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "dates after the names": """\
--- src/app.py\t2024-05-01 10:11:12.000000000 +0200
+++ src/app.py\t2024-05-01 10:11:13.000000000 +0200
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "dates after spaces, a kept copy as the old name": """\
--- src/app.py.orig  2024-05-01 10:11:12
+++ src/app.py  2024-05-01 10:11:13
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "svn": """\
Index: src/app.py
===================================================================
--- src/app.py\t(revision 12)
+++ src/app.py\t(working copy)
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "no counts": """\
--- a/src/app.py
+++ b/src/app.py
@@ @@
     for item in items:
-        s += item
+        s += item.price
     return s
""",
    "dots for counts": """\
--- a/src/app.py
+++ b/src/app.py
@@ ... @@
     for item in items:
-        s += item
+        s += item.price
""",
    "the function's name for counts": """\
--- a/src/app.py
+++ b/src/app.py
@@ def total(items):
     for item in items:
-        s += item
+        s += item.price
""",
    "only two signs for a header": """\
--- a/src/app.py
+++ b/src/app.py
@@
-        s += item
+        s += item.price
""",
    "a header cut short": """\
--- a/src/app.py
+++ b/src/app.py
@@ -5,3 +5,3
     for item in items:
-        s += item
+        s += item.price
     return s
""",
    "counts that are too large": """\
--- a/src/app.py
+++ b/src/app.py
@@ -3,9 +3,9 @@
     for item in items:
-        s += item
+        s += item.price
""",
    "counts that are too small": """\
--- a/src/app.py
+++ b/src/app.py
@@ -5,1 +5,1 @@
     for item in items:
-        s += item
+        s += item.price
""",
    "wrong line numbers": """\
--- a/src/app.py
+++ b/src/app.py
@@ -105,2 +110,2 @@
     for item in items:
-        s += item
+        s += item.price
""",
    "an empty line without its space": """\
--- a/src/app.py
+++ b/src/app.py
@@ -6,4 +6,4 @@
-        s += item
+        s += item.price
     return s

 def count(items):
""",
    "an empty line without its space, and no counts": """\
--- a/src/app.py
+++ b/src/app.py
@@ @@
-        s += item
+        s += item.price
     return s

 def count(items):
""",
    "a code block in prose": """\
Here is the fix:

```diff
--- a/src/app.py
+++ b/src/app.py
@@ -5,2 +5,2 @@
     for item in items:
-        s += item
+        s += item.price
```

It does two things:
- adds the price
+ nothing else
""",
    "prose after it without a code block": """\
--- a/src/app.py
+++ b/src/app.py
@@ -5,2 +5,2 @@
     for item in items:
-        s += item
+        s += item.price

This adds the price:
- of each item
""",
    "prose between its hunks": """\
--- a/src/app.py
+++ b/src/app.py
@@ @@
-        s += item
+        s += item.prize
and then the spelling:
@@ @@
-        s += item.prize
+        s += item.price
""",
    "a mail": """\
From 1234567890abcdef Mon Sep 17 00:00:00 2001
From: Model <model@example.org>
Subject: [PATCH] add the price

---
 src/app.py | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/src/app.py b/src/app.py
--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
--\x20
2.39.5

""",
    "a mail with counts that are too large": """\
--- a/src/app.py
+++ b/src/app.py
@@ -6,4 +6,4 @@
-        s += item
+        s += item.price
--\x20
2.39.5
""",
    "no --- and +++ lines": """\
diff --git a/src/app.py b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "an empty line between the headers": """\
diff --git a/src/app.py b/src/app.py

--- a/src/app.py
+++ b/src/app.py

@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "no line end at its end": """\
--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price""",
    "CRLF throughout": """\
--- a/src/app.py\r
+++ b/src/app.py\r
@@ -5,2 +5,2 @@\r
     for item in items:\r
-        s += item\r
+        s += item.price\r
""",
    "CRLF throughout, and no line end at its end": """\
--- a/src/app.py\r
+++ b/src/app.py\r
@@ -5,2 +5,2 @@\r
     for item in items:\r
-        s += item\r
+        s += item.price""",
    "a byte order mark": """\
\ufeff--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
""",
    "hunks that build upon each other": """\
--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.cost
@@ -6 +6 @@
-        s += item.cost
+        s += item.price
""",
    "the same file twice": """\
--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.cost
--- a/src/app.py
+++ b/src/app.py
@@ -5,2 +5,2 @@
     for item in items:
-        s += item.cost
+        s += item.price
""",
    "Codex's format": """\
*** Begin Patch
*** Update File: src/app.py
@@ def total(items):
     for item in items:
-        s += item
+        s += item.price
*** End Patch
""",
    "Codex's format without its first and last line": """\
*** Update File: src/app.py
@@
-        s += item
+        s += item.price
""",
    "a unified diff in Codex's envelope": """\
*** Begin Patch
--- a/src/app.py
+++ b/src/app.py
@@ -6 +6 @@
-        s += item
+        s += item.price
*** End Patch
""",
    "Codex's format with the names twice, and numbers": """\
*** Begin Patch
*** Update File: src/app.py
--- a/src/app.py
+++ b/src/app.py
@@ -6,1 +6,1 @@
-        s += item
+        s += item.price
*** End Patch
""",
}


@pytest.mark.parametrize("patch", MEANT_AS_THE_SAME.values(), ids=MEANT_AS_THE_SAME.keys())
def test_the_same_change_written_in_any_way_makes_the_same_file(patch: str) -> None:
    assert applied(patch, FILES) == {**FILES, "src/app.py": FIXED}


# What is before, what the hunks say, what is after.
ENDS = {
    "LF lines keep a CRLF file's line ends": (b"one\r\ntwo\r\n", " one\n-two\n+2\n+3\n", b"one\r\n2\r\n3\r\n"),
    "CRLF lines keep an LF file's line ends": (b"one\ntwo\n", " one\r\n-two\r\n+2\r\n", b"one\n2\n"),
    "CRLF lines in a CRLF file are what they say": (b"one\r\ntwo\r\n", " one\r\n-two\r\n+2\r\n", b"one\r\n2\r\n"),
    "line ends themselves can be changed": (b"one\r\ntwo\r\n", "-one\r\n+one\n two\r\n", b"one\ntwo\r\n"),
    "a replaced line hands its end on": (b"a\nb\r\nc\n", " a\n-b\n+B\n c\n", b"a\nB\r\nc\n"),
    "an added line ends as the one before it": (b"a\r\nb\nc\n", " a\n+A\n b\n+B\n c\n", b"a\r\nA\r\nb\nB\nc\n"),
    "a first line ends as the one after it": (b"a\r\nb\n", "+A\n a\n b\n", b"A\r\na\r\nb\n"),
    "a carriage return inside a line is no line end": (b"a\rb\n", "-a\rb\n+c\rd\n", b"c\rd\n"),
    "a missing last newline stays missing": (b"one\ntwo", " one\n-two\n+2\n", b"one\n2"),
    "a missing last newline stays missing after added lines": (b"one\ntwo", " two\n+3\n", b"one\ntwo\n3"),
    "a missing last newline stays missing in a CRLF file": (b"one\r\ntwo", " two\n+3\n", b"one\r\ntwo\r\n3"),
    "a line before the last needs no mark": (b"one\ntwo", "-one\n+1\n two\n", b"1\ntwo"),
    "a last newline is taken away": (b"one\n", "-one\n+one\n\\ No newline at end of file\n", b"one"),
    "a last newline is added": (b"one", "-one\n\\ No newline at end of file\n+one\n", b"one\n"),
    "there is no last newline on either side": (
        b"one",
        "-one\n\\ No newline at end of file\n+two\n\\ No newline at end of file\n",
        b"two",
    ),
    "an unchanged last line without newline": (b"a\nb", "-a\n+c\n b\n\\ No newline at end of file\n", b"c\nb"),
    "a mark in another language": (b"one", "-one\n\\ Kein Zeilenumbruch am Dateiende.\n+one\n", b"one\n"),
    "lines appended after a last line without newline": (
        b"one",
        "-one\n\\ No newline at end of file\n+one\n+two\n",
        b"one\ntwo\n",
    ),
    "the end of the last line is said for both sides, but there is one": (
        b"a\nb\n",
        " a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n",
        b"a\nc\n",
    ),
    "a removed line that looks like a header": (b"-- a/x\ny\n", "--- a/x\n+++ b/x\n y\n", b"++ b/x\ny\n"),
    "an added line that looks like a fence": (b"a\n", " a\n+```\n", b"a\n```\n"),
    "a form feed and a line separator are no line ends": (
        "a\fb\u2028c\n".encode(),
        "-a\fb\u2028c\n+d\n",
        b"d\n",
    ),
    "everything is removed": (b"a\nb\n", "-a\n-b\n", b""),
    "lines of a file that was empty": (b"", "+a\n+b\n", b"a\nb\n"),
    "a byte order mark is what it says": (b"\xef\xbb\xbfa\n", "-\ufeffa\n+\ufeffb\n", b"\xef\xbb\xbfb\n"),
}


@pytest.mark.parametrize(("before", "lines", "after"), ENDS.values(), ids=ENDS.keys())
def test_lines_end_as_the_file_has_it(before: bytes, lines: str, after: bytes) -> None:
    assert applied(f"--- a/f\n+++ b/f\n@@ @@\n{lines}", {"f": before}) == {"f": after}


def test_right_line_numbers_decide_between_equal_places() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -{0} +{0} @@\n-x\n+y\n"
    before = b"x\nx\nx\n"
    assert applied(patch.format(1), {"f": before}) == {"f": b"y\nx\nx\n"}
    assert applied(patch.format(2), {"f": before}) == {"f": b"x\ny\nx\n"}
    assert applied(patch.format(3), {"f": before}) == {"f": b"x\nx\ny\n"}


def test_line_numbers_that_are_off_by_the_same_for_all_hunks_decide_too() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-first\n+1st\n@@ -4 +4 @@\n-x\n+y\n"
    before = b"new\nnew\nfirst\n-\n-\nx\nx\n"
    plan = planned(patch, MemoryTree({"f": before}))
    assert MemoryTree({"f": before}).after(plan).files == {"f": b"new\nnew\n1st\n-\n-\ny\nx\n"}
    assert "found at line 3, 2 lines from its stated place" in plan.notes[0]


def test_a_heading_decides_between_equal_places() -> None:
    patch = "--- a/src/app.py\n+++ b/src/app.py\n@@ def count(items): @@\n-    s = 0\n+    s = -1\n"
    after = APP[: APP.index(b"def count")] + APP[APP.index(b"def count") :].replace(b"s = 0", b"s = -1")
    assert applied(patch, {"src/app.py": APP}) == {"src/app.py": after}


def test_headings_in_headings_decide_between_equal_places() -> None:
    before = b"class A:\n    def f(self):\n        x\n\nclass B:\n    def f(self):\n        x\n"
    patch = (
        "*** Begin Patch\n*** Update File: f\n@@ class B:\n@@     def f(self):\n-        x\n+        y\n*** End Patch"
    )
    assert applied(patch, {"f": before}) == {"f": before[:-2] + b"y\n"}


def test_hunks_in_any_order_are_placed_where_they_fit() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -3 +3 @@\n-c\n+C\n@@ -1 +1 @@\n-a\n+A\n"
    assert applied(patch, {"f": b"a\nb\nc\n"}) == {"f": b"A\nb\nC\n"}


def test_hunks_may_share_unchanged_lines() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n@@ -2,2 +2,2 @@\n b\n-c\n+C\n"
    assert applied(patch, {"f": b"a\nb\nc\n"}) == {"f": b"A\nb\nC\n"}


def test_a_hunk_may_have_what_an_earlier_one_has_made_around_it() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n@@ -1,3 +1,3 @@\n A\n b\n-c\n+C\n"
    assert applied(patch, {"f": b"a\nb\nc\n"}) == {"f": b"A\nb\nC\n"}


def test_added_lines_alone_go_after_the_line_that_the_header_names() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+x\n@@ -2,0 +4 @@\n+y\n"
    assert applied(patch, {"f": b"a\nb\n"}) == {"f": b"a\nx\nb\ny\n"}


def test_added_lines_alone_take_a_crlf_files_line_ends() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+x\n"
    assert applied(patch, {"f": b"a\r\nb\r\n"}) == {"f": b"a\r\nx\r\nb\r\n"}


def test_added_lines_alone_go_after_a_last_line_without_newline() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -2,0 +3 @@\n+x\n"
    assert applied(patch, {"f": b"a\nb"}) == {"f": b"a\nb\nx"}


def test_an_empty_line_of_a_new_file_may_have_lost_its_plus() -> None:
    for header in ("@@ -0,0 +1,4 @@", "@@ @@", "@@ -0,0 +1,9 @@"):
        patch = f"--- /dev/null\n+++ b/new.py\n{header}\n+import os\n\n\n+print(1)\n"
        assert applied(patch, {}) == {"new.py": b"import os\n\n\nprint(1)\n"}


def test_what_was_not_taken_by_its_letter_is_noted() -> None:
    patch = "--- a/dos.txt\n+++ b/dos.txt\n@@ -9,7 +9,8 @@\n one\n-two\n+2\n three\n"
    assert planned(patch, MemoryTree(FILES)).notes == (
        "dos.txt: hunk 1 has 3 old and 3 new lines; its header says 7 and 8",
        "dos.txt: hunk 1 was found at line 1, 8 lines from its stated place",
        "dos.txt: hunk 1 was given the file's CRLF line ends",
    )


def test_several_files_are_changed_by_one_patch() -> None:
    patch = (
        "--- a/notes.md\n+++ b/notes.md\n@@ -3 +3,2 @@\n One.\n+Two.\n\n"
        "--- a/end.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n\\ No newline at end of file\n"
        "--- /dev/null\n+++ b/d/e/new.txt\n@@ -0,0 +1 @@\n+new\n"
    )
    plan = planned(patch, MemoryTree(FILES))
    assert [(file.path, file.action.value, file.added, file.removed) for file in plan.files] == [
        ("notes.md", "modify", 1, 0),
        ("end.txt", "delete", 0, 2),
        ("d/e/new.txt", "create", 1, 0),
    ]
    after = MemoryTree(FILES).after(plan).files
    assert after.pop("d/e/new.txt") == b"new\n"
    assert after == {**{k: v for k, v in FILES.items() if k != "end.txt"}, "notes.md": b"# Notes\n\nOne.\nTwo.\n"}


def test_text_and_bytes_are_read_alike() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-é\n+ü\n"
    assert isinstance(parse(patch), Patch)
    assert parse(patch) == parse(patch.encode())
