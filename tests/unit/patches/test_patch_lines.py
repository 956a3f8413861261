"""Where hunks go in a file, and how the lines that they put there end."""

from __future__ import annotations

import pytest

from tests.unit.patches.trees import MemoryTree, applied, planned, refusal

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
    before = b"def f():\n    s = 0\n\ndef g():\n    s = 0\n\ndef h():\n    s = 0\n"
    patch = "--- a/f\n+++ b/f\n@@ def g(): @@\n-    s = 0\n+    s = -1\n"
    assert applied(patch, {"f": before}) == {"f": before.replace(b"g():\n    s = 0", b"g():\n    s = -1")}


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


def test_lines_are_put_in_between_what_earlier_hunks_have_changed() -> None:
    before = {"f": b"a\nb\nc\nd\n"}
    replaced = "@@ -2,2 +2 @@\n-b\n-c\n+x\n"
    for hunks, after in {
        f"{replaced}@@ -1,0 +2 @@\n+y\n": b"a\ny\nx\nd\n",
        f"{replaced}@@ -3,0 +4 @@\n+y\n": b"a\nx\ny\nd\n",
        f"{replaced}@@ -4,0 +5 @@\n+y\n": b"a\nx\nd\ny\n",
        f"{replaced}@@ -3,2 +4,3 @@\n x\n+y\n d\n": b"a\nx\ny\nd\n",
        f"@@ -1,0 +2 @@\n+y\n{replaced}": b"a\ny\nx\nd\n",
        f"@@ -3,0 +4 @@\n+y\n{replaced}": b"a\nx\ny\nd\n",
    }.items():
        assert applied(f"--- a/f\n+++ b/f\n{hunks}", before) == {"f": after}


def test_lines_are_not_put_in_where_an_earlier_hunk_has_changed_all() -> None:
    for hunks in (
        "@@ -2,2 +2 @@\n-b\n-c\n+x\n@@ -2,0 +3 @@\n+y\n",
        "@@ -2,0 +3 @@\n+y\n@@ -2,0 +3 @@\n+y\n",
        "@@ -4 +4 @@\n-d\n\\ No newline at end of file\n+x\n@@ -4,0 +5 @@\n+y\n",
    ):
        error = refusal(f"--- a/f\n+++ b/f\n{hunks}", {"f": b"a\nb\nc\nd"})
        assert error.message.endswith("an earlier hunk has changed the place where its lines go")


def test_lines_do_not_stand_where_an_earlier_hunk_has_put_others_between_them() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n+x\n b\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert refusal(patch, {"f": b"a\nb\n"}).details["reason"] == "overlap"


def test_a_header_without_numbers_may_be_followed_by_what_looks_like_a_file() -> None:
    for text in ("--- a/x\n+++ b/x\n y\n", "-b\n--- a/x\n+++ b/x\n y\n"):
        before = b"b\n-- a/x\ny\n" if text.startswith("-b") else b"-- a/x\ny\n"
        assert applied(f"--- a/f\n+++ b/f\n@@ @@\n{text}", {"f": before}) == {"f": b"++ b/x\ny\n"}
    twice = "--- a/f\n+++ b/f\n@@ @@\n-b\n+c\n--- a/g\n+++ b/g\n\n@@ @@\n-d\n+e\n"
    assert applied(twice, {"f": b"b\n", "g": b"d\n"}) == {"f": b"c\n", "g": b"e\n"}
