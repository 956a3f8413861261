"""Whatever two trees are, their diff makes the one of the other; and nothing else ever happens but an error."""

from __future__ import annotations

import difflib
import re
import tempfile
from pathlib import Path

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.patches import parse
from tests.support.thorough import examples
from tests.unit.patches.trees import MemoryTree, applied, git_apply, git_diff, outcome, planned

# Few different lines, so that contexts repeat; and those that look like parts of a patch.
TEXT_LINES = """\
a
b
c

\t
  x
--\x20
- q
++ y
-- a/f
+++ b/f
@@ -1 +1 @@
\\ No newline at end of file
diff --git a/f b/f
```
*** End Patch
\x0c
é\u2028ü
\rz
\x00"""
PATCH_TEXT = """\
--- a/f
+++ b/f
--- /dev/null
+++ /dev/null
@@ @@
@@ -1,2 +1,2 @@
@@ -0,0 +1 @@
+a
-a
 a

diff --git a/f b/f
new file mode 100755
deleted file mode 100644
rename from f
rename to g
copy from f
copy to h
old mode 100644
new mode 100755
index 1..2 100644
GIT binary patch
*** Begin Patch
*** Update File: f
*** Add File: n/m
*** Delete File: f
*** Move to: z
*** End of File
```diff
2.39.5
--- "a/\\303\\244"
--- ../f
+++ /etc/passwd
--- a/f\t2020-01-01 10:00:00"""
LINES = st.sampled_from(TEXT_LINES.split("\n"))
PATCH_LINES = st.sampled_from(PATCH_TEXT.split("\n"))
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n"])
NAMES = st.sampled_from(["f", "a/f", "b/g", "d/with space", "d/deep/x.py", 'q"uote', "é", "tab\there", "x\ny", "-f"])


@st.composite
def texts(draw: st.DrawFn, *, mixed: bool = True, least: int = 0) -> bytes:
    lines = draw(st.lists(LINES, min_size=least, max_size=least + 14))
    one_end = draw(ENDS)
    ends = [draw(ENDS) if mixed and draw(st.integers(0, 7)) == 0 else one_end for _ in lines]
    if ends and draw(st.integers(0, 3)) == 0:
        ends[-1] = ""
    return "".join(line + end for line, end in zip(lines, ends, strict=True)).encode()


@st.composite
def edited(draw: st.DrawFn, before: bytes, least: int = 1) -> bytes:
    """Return a text that has much in common with another."""
    lines = before.splitlines(keepends=True) if b"\r" not in before else before.split(b"\n")
    for _ in range(draw(st.integers(least, least + 3))):
        at = draw(st.integers(0, len(lines)))
        until = min(len(lines), at + draw(st.integers(0, 3)))
        lines[at:until] = [(draw(LINES) + draw(ENDS)).encode() for _ in range(draw(st.integers(0, 3)))]
    return b"".join(lines)


@st.composite
def trees(draw: st.DrawFn) -> tuple[MemoryTree, MemoryTree]:
    before, after = MemoryTree({}), MemoryTree({})
    text = draw(texts())
    for name in draw(st.lists(NAMES, unique=True, min_size=1, max_size=4)):
        # Half of the files resemble the one before, so that git finds renames and copies.
        text = draw(texts()) if draw(st.booleans()) else text
        there = draw(st.sampled_from(["both", "both", "both", "before", "after"]))
        if there != "after":
            before.files[name] = text
            before.modes[name] = draw(st.sampled_from([0o644, 0o644, 0o755]))
        if there != "before":
            after.files[name] = draw(edited(text)) if draw(st.booleans()) else text
            after.modes[name] = draw(st.sampled_from([0o644, 0o644, 0o755]))
    return before, after


@given(trees(), st.integers(1, 5), st.sampled_from(["--no-renames", "-M", "-C -C", "-B -M", "-M10%", "--full-index"]))
@settings(max_examples=examples(60))
def test_what_git_writes_about_two_trees_makes_the_second_of_the_first(
    pair: tuple[MemoryTree, MemoryTree], context: int, kind: str
) -> None:
    before, after = pair
    with tempfile.TemporaryDirectory() as directory:
        patch = git_diff(Path(directory), before, after, "--text", f"-U{context}", *kind.split())
    assume(patch)
    plan = planned(patch, before)
    assert plan.notes == ()
    made = before.after(plan)
    assert made.files == after.files
    assert made.modes == after.modes


@given(texts(), st.data(), st.integers(0, 5))
@settings(max_examples=examples(300))
@example(b"a\r\n", None, 0)
def test_what_difflib_writes_about_two_texts_makes_the_second_of_the_first(
    before: bytes, data: st.DataObject | None, context: int
) -> None:
    after = data.draw(edited(before)) if data is not None else b"b\r\na\r\n"
    assume(before != after)
    patch = written_by_difflib(before, after, context)
    if not context:
        # LF lines that go between a CRLF file's lines, with nothing around them, become that file's own.
        assume(b"\r\n" not in before)
        # What is put before the first line, with nothing around it, looks like a new file.
        assume(not before or b"-0,0" not in patch)
    assert applied(patch, {"f": before}) == {"f": after}


def written_by_difflib(before: bytes, after: bytes, context: int = 3) -> bytes:
    def lines(data: bytes) -> list[str]:
        return [line + "\n" for line in data.decode().split("\n")[:-1]] + [
            line for line in [data.decode().rpartition("\n")[2]] if line
        ]

    made = difflib.unified_diff(lines(before), lines(after), "a/f", "b/f", n=context)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made).encode()


@given(texts(mixed=False), st.data())
@settings(max_examples=examples(100))
def test_where_git_accepts_a_patch_with_wrong_numbers_the_result_is_the_same(
    before: bytes, data: st.DataObject
) -> None:
    after = data.draw(edited(before))
    assume(before != after and b"\0" not in before + after)
    patch = written_by_difflib(before, after, data.draw(st.integers(1, 3)))
    # Without context git goes by the end of the file, not by the line numbers: -U0 is not made for it.
    assume(all(hunk.leading or hunk.trailing for file in parse(patch).files for hunk in file.hunks))
    drift = data.draw(st.integers(-3, 3))

    def moved(match: re.Match[bytes]) -> bytes:
        old, new = max(1, int(match[1]) + drift), max(1, int(match[3]) + drift)
        return b"@@ -%d%s +%d%s @@" % (old, match[2], new, match[4])

    patch = re.sub(rb"^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@", moved, patch, flags=re.MULTILINE)
    present = data.draw(st.sampled_from([before, b"new\n" + before, before + b"new\n", data.draw(edited(before))]))
    with tempfile.TemporaryDirectory() as directory:
        by_git = git_apply(Path(directory), {"f": present}, patch)
    by_us = outcome(patch, {"f": present})
    assert by_git is None or isinstance(by_us, PyroError) or by_us == by_git


@given(
    texts(mixed=False, least=6),
    st.data(),
    # Without numbers; and with right line numbers but wrong counts.
    st.sampled_from(["@@ @@", "@@ ... @@", "@@", r"@@ -\1,99 +\2,99 @@", r"@@ -\1 +\2 @@", r"@@ -\1,2 +\2,3 @@"]),
)
@settings(max_examples=examples(300))
def test_a_patch_without_right_counts_makes_the_right_text_or_none(
    before: bytes, data: st.DataObject, header: str
) -> None:
    after = data.draw(edited(before, least=2))
    patch = written_by_difflib(before, after, data.draw(st.integers(1, 3)))
    patch = re.sub(rb"(?m)^@@ -(\d+)\S* \+(\d+)\S* @@$", header.encode(), patch)
    result = outcome(patch, {"f": before})
    assert before == after or isinstance(result, PyroError) or result == {"f": after}


@given(texts(mixed=False, least=8), st.data(), st.integers(0, 2), st.booleans())
@settings(max_examples=examples(150))
def test_hunks_in_any_order_make_the_right_text_or_none(
    before: bytes, data: st.DataObject, context: int, numbered: bool
) -> None:
    after = data.draw(edited(before, least=4))
    header, *hunks = re.split(rb"(?m)^(?=@@ -.*@@$)", written_by_difflib(before, after, context))
    assume(len(hunks) > 1)
    if not context:
        assume(b"\r\n" not in before)
    patch = header + b"".join(data.draw(st.permutations(hunks)))
    if not numbered:
        patch = re.sub(rb"(?m)^@@ -.*@@$", b"@@ @@", patch)
    result = outcome(patch, {"f": before})
    assert isinstance(result, PyroError) or result == {"f": after}


@given(st.data())
@settings(max_examples=examples(500))
def test_a_damaged_patch_is_refused_with_words_or_applies(data: st.DataObject) -> None:
    before = data.draw(texts())
    patch = bytearray(written_by_difflib(before, data.draw(edited(before))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(patch)))
        piece = data.draw(st.one_of(st.binary(max_size=4), LINES.map(str.encode), st.just(b"\n")))
        patch[at : at + data.draw(st.integers(0, 9))] = piece
    outcome(bytes(patch), {"f": before})


@given(st.lists(st.one_of(LINES, PATCH_LINES, st.text(max_size=12)), max_size=24).map("\n".join), texts())
@settings(max_examples=examples(500))
def test_lines_of_patches_in_any_order_are_refused_with_words_or_apply(patch: str, before: bytes) -> None:
    outcome(patch, {"f": before})


@given(st.one_of(st.text(), st.binary()))
def test_text_that_is_no_patch_is_refused_with_words(patch: str | bytes) -> None:
    assert isinstance(outcome(patch, {"f": b"a\n"}), PyroError)


@given(trees())
@settings(max_examples=examples(25))
def test_a_patch_applied_twice_is_refused_or_does_what_git_would_do(pair: tuple[MemoryTree, MemoryTree]) -> None:
    before, after = pair
    with tempfile.TemporaryDirectory() as directory:
        patch = git_diff(Path(directory), before, after, "--text", "--no-renames")
    assume(patch)
    again = outcome(patch, after.files)
    if isinstance(again, PyroError):
        assert again.code is ErrorCode.CONFLICT
        return
    # A change that repeats what is around it fits twice.
    with tempfile.TemporaryDirectory() as directory:
        assert git_apply(Path(directory), after.files, patch) == again


def test_reading_a_patch_needs_no_tree() -> None:
    assert [file.new for file in parse("--- a/f\n+++ b/f\n@@ @@\n-a\n+b\n").files] == ["b/f"]
