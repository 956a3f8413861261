"""What a patch is refused with: which file, which hunk, what was expected, what stands there, and what to do."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode
from pyro_mcp.model.kinds import FileKind
from tests.unit.patches.trees import Files, MemoryTree, outcome, refusal

NUMBERS = {"f": b"one\ntwo\nthree\nfour\nfive\n"}
NAMED = "--- a/f\n+++ b/f\n"


def test_a_hunk_that_does_not_fit_is_shown_beside_what_stands_there() -> None:
    error = refusal(f"{NAMED}@@ -2,3 +2,3 @@\n two\n-drei\n+3\n four\n", NUMBERS)
    assert error.code is ErrorCode.CONFLICT
    assert error.message == (
        "f: hunk 1 (line 3 of the patch) does not fit at line 3: expected\n"
        "     3 | drei\n"
        "     4 | four\n"
        "but found\n"
        "     3 | three\n"
        "     4 | four"
    )
    assert error.hint.startswith("Read the file again")
    assert error.details == {"reason": "mismatch", "file": "f", "patch_line": 3, "hunk": 1, "line": 3}


def test_the_place_that_is_most_alike_is_shown_if_the_line_number_is_wrong() -> None:
    error = refusal(f"{NAMED}@@ -90,4 +90,4 @@\n two\n three\n-vier\n+4\n five\n", NUMBERS)
    assert "does not fit at line 4: expected\n     4 | vier" in error.message
    assert "but found\n     4 | four" in error.message


def test_control_characters_are_made_visible() -> None:
    error = refusal(f"{NAMED}@@ -1 +1 @@\n-\x1b[31mone\t\x07\u202e\x9b\n+1\n", {"f": b"\x1b]52;c;eA==\x07one\r\n"})
    assert " | \\x1b[31mone\\t\\x07\\u202e\\x9b\n" in error.message
    assert "\\x1b]52;c;eA==\\x07one" in error.message
    assert error.message.replace("\n", "").isprintable()


def test_long_lines_are_cut_to_where_they_differ() -> None:
    before = {"f": b"a\n" + b"x" * 5000 + b"found" + b"y" * 5000 + b"\n"}
    error = refusal(f"{NAMED}@@ -1,2 +1 @@\n a\n-{'x' * 5000}wanted{'y' * 5000}\n+b\n", before)
    assert "xwantedy" in error.message
    assert "xfoundy" in error.message
    assert len(error.message) < 600


HUNK = "f: hunk 1 (line 3 of the patch)"
SPACED = "except for white space (spaces are shown as ·): expected\n"
# What is refused, of which file, and what the first line of the message says.
REFUSED: dict[str, tuple[str, Files, str, str]] = {
    "lines beyond the end": (
        f"{NAMED}@@ -4,3 +4,3 @@\n four\n five\n-six\n+6\n",
        NUMBERS,
        "mismatch",
        "f: hunk 1 (line 3 of the patch) does not fit: expected\n     6 | six\nbut the file ends with\n     5 | five",
    ),
    "lines before the beginning": (
        f"{NAMED}@@ -1,3 +1,3 @@\n zero\n one\n-two\n+2\n",
        NUMBERS,
        "mismatch",
        f"{HUNK} does not fit: expected\n       | zero\n       | one\n       | two\nbut the file begins",
    ),
    "lines of an empty file": (
        f"{NAMED}@@ -1 +1 @@\n-a\n+b\n",
        {"f": b""},
        "mismatch",
        f"{HUNK} does not fit: none of the lines that it expects is in the file. Expected\n       | a\nbut the file",
    ),
    "spaces for a tab": (
        f"{NAMED}@@ -1 +1 @@\n-    one\n+1\n",
        {"f": b"\tone\n"},
        "white_space",
        f"{HUNK} fits at line 1 {SPACED}     1 | ····one\nbut found\n     1 | \\tone",
    ),
    "blanks at the end of a line": (
        f"{NAMED}@@ @@\n one\n-two\n+2\n",
        {"f": b"one\ntwo  \n"},
        "white_space",
        f"{HUNK} fits at line 2 {SPACED}     2 | two\nbut found\n     2 | two··",
    ),
    "two equal places": (
        f"{NAMED}@@ @@\n-x\n+y\n",
        {"f": b"x\nx\nx\n"},
        "ambiguous",
        "f: hunk 1 (line 3 of the patch) fits in several places: its lines occur at lines 1, 2, 3",
    ),
    "a wrong line number between equal places": (
        f"{NAMED}@@ -2 +2 @@\n-x\n+y\n",
        {"f": b"x\n-\nx\n"},
        "ambiguous",
        "f: hunk 1 (line 3 of the patch) fits in several places: its lines occur at lines 1, 3",
    ),
    "many equal places": (
        f"{NAMED}@@ @@\n-x\n+y\n",
        {"f": b"x\n" * 100},
        "ambiguous",
        "f: hunk 1 (line 3 of the patch) fits in several places: its lines occur at lines 1, 2, 3, 4, 5 and more",
    ),
    "a heading over equal places": (
        f"{NAMED}@@ def g @@\n-  x\n+  y\n",
        {"f": b"def f\n  x\ndef g\n  x\n  x\n"},
        "ambiguous",
        "f: hunk 1 (line 3 of the patch) fits in several places: its lines occur at lines 4, 5",
    ),
    "a change that is there": (
        f"{NAMED}@@ -1,2 +1,2 @@\n one\n-zwei\n+two\n",
        NUMBERS,
        "already_applied",
        "f: hunk 1 (line 3 of the patch) does not apply: the change is already applied, at lines 1 to 2",
    ),
    "an added line that is there": (
        f"{NAMED}@@ -1,2 +1,3 @@\n one\n+two\n three\n",
        NUMBERS,
        "already_applied",
        "f: hunk 1 (line 3 of the patch) does not apply: the change is already applied, at lines 1 to 3",
    ),
    "a removed line that is gone": (
        f"{NAMED}@@ -1,3 +1,2 @@\n one\n-one and a half\n two\n",
        NUMBERS,
        "already_applied",
        "f: hunk 1 (line 3 of the patch) does not apply: the change is already applied, at lines 1 to 2",
    ),
    "an appended line that is there": (
        f"{NAMED}@@ -1 +1,2 @@\n one\n+two\n",
        NUMBERS,
        "already_applied",
        "f: hunk 1 (line 3 of the patch) does not apply: the change is already applied, at lines 1 to 2",
    ),
    "line ends that are mixed": (
        f"{NAMED}@@ -1,2 +1,2 @@\n one\r\n-two\n+2\n",
        NUMBERS,
        "line_ends",
        "f: hunk 1 (line 3 of the patch) has LF and CRLF line ends mixed, and they are not those at line 1 of the file",
    ),
    "line ends that are not there to be changed": (
        f"{NAMED}@@ -1,2 +1,2 @@\n-one\n+one\r\n two\n",
        {"f": b"one\ntwo\r\n"},
        "line_ends",
        "f: hunk 1 (line 3 of the patch) has LF and CRLF line ends mixed, and they are not those at line 1 of the file",
    ),
    "an end of file in its middle": (
        f"{NAMED}@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+1\n",
        NUMBERS,
        "not_at_end",
        "f: hunk 1 (line 3 of the patch) says that the file ends after its last line, but that is line 1 of 5",
    ),
    "a newline that is there": (
        f"{NAMED}@@ -5 +5 @@\n-five\n\\ No newline at end of file\n+5\n",
        NUMBERS,
        "not_at_end",
        "f: hunk 1 (line 3 of the patch) is wrong about the newline at the end of the file",
    ),
    "hunks that overlap": (
        f"{NAMED}@@ -1,2 +1,2 @@\n-one\n+1\n two\n@@ -1,2 +1,2 @@\n-one\n two\n+2\n",
        NUMBERS,
        "overlap",
        "f: hunk 2 (line 7 of the patch) overlaps an earlier hunk, which has changed line 1",
    ),
    "added lines without a place": (
        f"{NAMED}@@ @@\n+x\n",
        NUMBERS,
        "unplaced",
        "f: hunk 1 (line 3 of the patch) can't be placed: it has added lines only",
    ),
    "added lines in two places": (
        f"{NAMED}@@ -3,0 +3 @@\n+x\n",
        NUMBERS,
        "unplaced",
        "f: hunk 1 (line 3 of the patch) can't be placed: it has added lines only, and its header says both after line",
    ),
    "added lines beyond the end": (
        f"{NAMED}@@ -30,0 +31 @@\n+x\n",
        NUMBERS,
        "unplaced",
        "f: hunk 1 (line 3 of the patch) can't be placed: its lines go after line 30, but the file has only 5",
    ),
    "added lines after a hunk with wrong numbers": (
        f"{NAMED}@@ -4 +4 @@\n-one\n+1\n@@ -4,0 +5 @@\n+x\n",
        NUMBERS,
        "unplaced",
        "f: hunk 2 (line 6 of the patch) can't be placed: it has added lines only, and the hunk before was not at",
    ),
    "added lines for a new file that is there": (
        f"{NAMED}@@ -0,0 +1 @@\n+x\n",
        NUMBERS,
        "exists",
        "f: its only hunk has -0,0 in its header, as for a new or an empty file, but the file has lines already",
    ),
    "a file that is not there": (
        "--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n",
        NUMBERS,
        "missing",
        "g: the file is not there",
    ),
    "a new file that is there": (
        "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n",
        NUMBERS,
        "exists",
        "f: the patch creates the file, but it already exists",
    ),
    "a new file that is there with the same content": (
        "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n",
        {"f": b"x\n"},
        "already_applied",
        "f: is already there, with exactly this content",
    ),
    "a file created twice": (
        "--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+x\n" * 2,
        NUMBERS,
        "created_twice",
        "g: the patch creates the file, but has written it before",
    ),
    "a file below a file": (
        "--- /dev/null\n+++ b/f/g\n@@ -0,0 +1 @@\n+x\n",
        NUMBERS,
        "not_a_directory",
        "f/g: f is a file, so nothing can be below it",
    ),
    "a file below a file of the same patch": (
        "--- /dev/null\n+++ b/g/h\n@@ -0,0 +1 @@\n+x\n--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+x\n",
        {},
        "not_a_directory",
        "g/h: g is a file, so nothing can be below it",
    ),
    "a file that is gone": (
        "--- a/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
        NUMBERS,
        "already_applied",
        "g: the patch deletes the file, but it is not there",
    ),
    "a file deleted in part": (
        "--- a/f\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n",
        NUMBERS,
        "not_empty",
        "f: the patch deletes the file, but would leave 3 of its lines",
    ),
    "a file deleted unseen": (
        "diff --git a/f b/f\ndeleted file mode 100644\nindex 1234567..0000000\n",
        NUMBERS,
        "not_empty",
        "f: the patch deletes the file, but would leave 5 of its lines",
    ),
    "a file deleted with other content": (
        "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-eins\n",
        {"f": b"one\n"},
        "mismatch",
        "f: hunk 1 (line 3 of the patch) does not fit",
    ),
    "a target of a rename that is there": (
        "diff --git a/f b/g\nrename from f\nrename to g\n",
        {"f": b"a\n", "g": b"b\n"},
        "exists",
        "g: f can't be moved there: the file already exists",
    ),
    "a rename that is done": (
        "diff --git a/f b/g\nrename from f\nrename to g\n",
        {"g": b"b\n"},
        "already_applied",
        "g: already exists, and its source does not",
    ),
    "a rename of nothing": (
        "diff --git a/f b/g\nrename from f\nrename to g\n",
        {},
        "missing",
        "f: the file is not there",
    ),
    "a rename after a change": (
        f"{NAMED}@@ -1 +1 @@\n-one\n+1\ndiff --git a/f b/g\nrename from f\nrename to g\n",
        NUMBERS,
        "order",
        "g: the patch changes f before it renames it",
    ),
    "bytes that are no text": (
        f"{NAMED}@@ -1 +1 @@\n-a\n+b\n",
        {"f": b"a\n\xff\n"},
        "not_text",
        "f: is not UTF-8 text, so it can't be patched",
    ),
}


@pytest.mark.parametrize(("patch", "files", "reason", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_with_its_reason(patch: str, files: Files, reason: str, message: str) -> None:
    error = refusal(patch, files)
    assert error.message.startswith(message)
    assert error.code is ErrorCode.CONFLICT
    assert error.hint
    assert error.details["reason"] == reason
    assert outcome(patch, files)


MALFORMED = {
    "nothing": ("", "there is no patch in the text"),
    "prose": ("I have fixed it:\n- all of it\n", "there is no patch in the text"),
    "escaped line ends": (
        "--- a/f\\n+++ b/f\\n@@ @@\\n-a\\n+b",
        "there is no patch in the text: it is one line, with \\n",
    ),
    "a hunk alone": ("@@ -1 +1 @@\n-one\n+1\n", "line 1 of the patch begins a hunk, but no file is named before it"),
    "one name": ("--- a/f\n@@ -1 +1 @@\n-one\n+1\n", "line 1 of the patch names one side of a file only"),
    "no name": ("--- \n+++ \n@@ -1 +1 @@\n-one\n+1\n", "line 1 of the patch names no file"),
    "no file": ("--- /dev/null\n+++ /dev/null\n@@ @@\n+a\n", "line 1 of the patch begins a file without a name"),
    "a name that is not well quoted": (
        '--- "a/\\q"\n+++ b/f\n@@ @@\n-a\n',
        "line 1 of the patch has a quoted file name",
    ),
    "a name that is too long": (
        f"--- {'x' * 9000}\n+++ b/f\n@@ @@\n-a\n",
        "line 1 of the patch has a file name that is",
    ),
    "a name without an end": ('--- "a/f\n+++ b/f\n@@ @@\n-a\n', "line 1 of the patch has a quoted file name"),
    "names without hunks": ("--- a/f\n+++ b/f\n", "line 1 of the patch names f, but no change of it follows"),
    "a new file without a hunk": (
        "--- /dev/null\n+++ b/g\n+x\n",
        "line 1 of the patch names g, but no change of it follows",
    ),
    "a git header alone": (
        "diff --git a/f b/f\nindex 1..2\n",
        "line 1 of the patch names f, but no change of it follows",
    ),
    "half a rename": (
        "diff --git a/f b/g\nrename from f\n",
        "line 1 of the patch begins a file that is renamed or copied",
    ),
    "a copy of nothing": (
        "diff --git a/f b/g\ncopy from /dev/null\n",
        "line 2 of the patch renames or copies /dev/null",
    ),
    "a git header with two names": (
        "diff --git a/f b/g\n@@ @@\n-a\n",
        "line 1 of the patch begins a file whose name can't be",
    ),
    "two names": ("--- a/f\n+++ b/g\n@@ -1 +1 @@\n-one\n+1\n", "g: the patch gives the file two names, f and g"),
    "a hunk without changes": (
        f"{NAMED}@@ -1 +1 @@\n one\n",
        "f: hunk 1: line 3 of the patch begins a hunk that changes nothing",
    ),
    "lines without their space": (
        f"{NAMED}@@ -1,3 +1,3 @@\none\n-two\n+2\n three\n",
        'f: hunk 1: line 4 of the patch ("one") ends the hunk, for it does not begin with a space, + or -; but',
    ),
    "prose that looks like changes": (
        f"{NAMED}@@ @@\n-one\n+1\nI changed:\n- one\n",
        'f: hunk 1: line 6 of the patch ("I changed:") ends the hunk',
    ),
    "no newline in the middle": (
        f"{NAMED}@@ @@\n-one\n\\ No newline at end of file\n-two\n+1\n",
        "f: hunk 1: line 5 of the patch says that the file has no newline at its end there, but more lines",
    ),
    "no newline before any line": (
        f"{NAMED}@@ @@\n\\ No newline at end of file\n-two\n",
        "f: hunk 1: line 4 of the patch says that there is no newline, but no line precedes it",
    ),
    "unchanged lines of a new file": (
        "--- /dev/null\n+++ b/g\n@@ -0,0 +1,2 @@\n one\n+two\n",
        "g: the patch creates the file, but its hunk has lines that do not begin with +",
    ),
    "several hunks of a new file": (
        "--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+one\n@@ -0,0 +2 @@\n+two\n",
        "g: the patch creates the file in 2 hunks",
    ),
    "two formats": (
        f"{NAMED}@@ -1 +1 @@\n-one\n+1\n*** Begin Patch\n*** Delete File: f\n*** End Patch\n",
        "line 7 of the patch begins a file in Codex's format after others in git's",
    ),
    "text that is not UTF-8": (b"--- a/f\n+++ b/f\n@@ @@\n-one\n+\xff\n", "line 5 of the patch is not UTF-8 text"),
    "half a character": (f"{NAMED}@@ @@\n-one\n+\ud83d\n", "line 5 of the patch is not UTF-8 text"),
}


@pytest.mark.parametrize(("patch", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_can_not_be_read_is_refused_with_its_line(patch: str | bytes, message: str) -> None:
    error = refusal(patch, NUMBERS)
    assert error.message.startswith(message)
    assert error.code is ErrorCode.INVALID
    assert error.hint
    assert outcome(patch, NUMBERS)


def test_all_that_is_wrong_is_said_at_once() -> None:
    patch = (
        f"{NAMED}@@ -1 +1 @@\n-eins\n+1\n@@ -2 +2 @@\n-two\n+2\n@@ -3 +3 @@\n-drei\n+3\n"
        "--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n"
        "--- a/../h\n+++ b/../h\n@@ -1 +1 @@\n-a\n+b\n"
    )
    error = refusal(patch, NUMBERS)
    assert error.code is ErrorCode.INVALID
    assert error.message.splitlines()[0] == "nothing was changed: 4 parts of the patch do not apply"
    for said in ("1. f: hunk 1", "2. f: hunk 3", "3. g: the file is not there", "4. ../h: the path has '..' in it"):
        assert f"\n{said}" in error.message
    assert error.details["count"] == 4
    assert "List the files" in error.hint
    assert "Read the file again" in error.hint


def test_of_very_much_that_is_wrong_the_first_is_said() -> None:
    patch = NAMED + "".join(f"@@ -{number} +1 @@\n-wrong {number}\n+x\n" for number in range(1, 1000))
    error = refusal(patch, NUMBERS)
    assert error.message.count("\n1. ") == 1
    assert error.message.endswith("and 15 more")
    assert len(error.message) < 2000


def test_a_part_that_needs_a_failed_one_is_not_complained_of() -> None:
    patch = f"{NAMED}@@ -1 +1 @@\n-eins\n+1\n{NAMED}@@ -1 +1 @@\n-1\n+one\n"
    assert refusal(patch, NUMBERS).details["reason"] == "mismatch"


ESCAPES = {
    "../x": "the path has '..' in it",
    "a/../../x": "the path has '..' in it",
    "a/..": "the path has '..' in it",
    "/etc/passwd": "the path is absolute",
    "//etc/passwd": "the path is absolute",
    "/workspace/../x": "the path has '..' in it",
    "/workspace//etc/passwd": "the path is absolute",
    "/workspace/.git/config": "patches do not write below .git",
    ".git/hooks/pre-commit": "patches do not write below .git",
    "sub/.git/config": "patches do not write below .git",
    "sub/.GIT/config": "patches do not write below .git",
    ".git": "patches do not write below .git",
    "d/": "that names a directory, not a file",
    "d/.": "that names a directory, not a file",
    "./": "that names a directory, not a file",
    "a\0b": "a file name can't hold a NUL byte",
    "x" * 256: "the path is too long",
    "é" * 128: "the path is too long",
    "d/" * 100 + "x": "the path is too long",
    "ddd/" * 1100 + "x": "the path is too long",
}
FORMS = {
    "new": '--- /dev/null\n+++ "b/{0}"\n@@ -0,0 +1 @@\n+x\n',
    "changed": '--- "a/{0}"\n+++ "b/{0}"\n@@ -1 +1 @@\n-x\n+y\n',
    "gone": '--- "a/{0}"\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n',
    "renamed from": 'diff --git a/f b/f\nrename from "{0}"\nrename to g\n',
    "renamed to": 'diff --git a/f b/f\nrename from f\nrename to "{0}"\n',
    "copied to": 'diff --git a/f b/f\ncopy from f\ncopy to "{0}"\n',
    "Codex's": '*** Begin Patch\n*** Add File: "{0}"\n+x\n*** End Patch\n',
    "Codex's, deleted": '*** Begin Patch\n*** Delete File: "{0}"\n*** End Patch\n',
    "Codex's, moved": '*** Begin Patch\n*** Update File: f\n*** Move to: "{0}"\n*** End Patch\n',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(("path", "message"), ESCAPES.items(), ids=lambda text: ascii(text)[:24])
def test_no_path_leads_outside_or_into_gits_own_files(form: str, path: str, message: str) -> None:
    error = refusal(form.format(path), MemoryTree({"f": b"x\n"}))
    assert error.code is ErrorCode.INVALID
    # A name of four thousand bytes is refused by its length before it is read as a path.
    assert message in error.message or "too long" in error.message


def test_no_link_on_the_way_is_followed() -> None:
    for patch in (
        "--- a/d/f\n+++ b/d/f\n@@ -1 +1 @@\n-a\n+b\n",
        "--- /dev/null\n+++ b/d/e/f\n@@ -0,0 +1 @@\n+a\n",
        "*** Begin Patch\n*** Delete File: d/f\n*** End Patch\n",
        "diff --git a/g b/d/g\nrename from g\nrename to d/g\n",
        "diff --git a/d/f b/h\ncopy from d/f\ncopy to h\n",
    ):
        tree = MemoryTree({"g": b"", "d/f": b"a\n"}, special={"d": FileKind.LINK})
        error = refusal(patch, tree)
        assert error.message.endswith("d on its way is a symbolic link, and is not followed")
        assert error.details["reason"] == "link"
        assert tree.asked <= {"d", "d/f", "d/e", "d/e/f", "d/g", "g", "h"}


def test_names_are_made_visible_in_messages() -> None:
    patch = '--- "a/\\033]0;x\\007"\n+++ "b/\\033]0;x\\007"\n@@ -1 +1 @@\n-a\n+b\n'
    assert refusal(patch, {}).message == "\\x1b]0;x\\x07: the file is not there"
