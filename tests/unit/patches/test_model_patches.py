"""Patches as models write them: each applies exactly as it is meant."""

from __future__ import annotations

import pytest

from pyro_mcp.patches import Patch, parse
from tests.unit.patches.trees import MemoryTree, applied, planned

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


@pytest.mark.parametrize("form", ["--- {0}\n+++ {0}\n", "diff --git {0} {0}\n--- {0}\n+++ {0}\n"])
def test_a_name_below_workspace_is_the_relative_one(form: str) -> None:
    patch = form.format("/workspace/src/x.py") + "@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, {"src/x.py": b"a\n"}) == {"src/x.py": b"b\n"}
    codex = "*** Begin Patch\n*** Update File: /workspace/src/x.py\n-a\n+b\n*** End Patch\n"
    assert applied(codex, {"src/x.py": b"a\n"}) == {"src/x.py": b"b\n"}
