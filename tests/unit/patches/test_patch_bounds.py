"""How large patches and files may be, and that hostile ones cost no more than a bounded search."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.patches import MAX_FILE_BYTES, MAX_FILES, MAX_PATCH_BYTES, MAX_TOTAL_BYTES, parse, paths_of
from pyro_mcp.patches.text import Budget, Haystack, split_lines
from tests.unit.patches.trees import MemoryTree, applied, planned, refusal

NAMED = "--- a/f\n+++ b/f\n"
NEW = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+x\n"
# Short lines that are all the same, and a MiB of them: the worst that a search can meet.
SAME = b"a\n" * (MAX_FILE_BYTES // 2)
COUNTED = b"".join(b"%06d\n" % number for number in range(MAX_FILE_BYTES // 7))


def test_a_patch_may_have_a_mebibyte_and_no_more() -> None:
    patch = NAMED + "@@ -1 +1 @@\n-a\n+"
    patch += "b" * (MAX_PATCH_BYTES - len(patch))
    assert len(applied(patch, {"f": b"a\n"})["f"]) > MAX_PATCH_BYTES - 100
    for larger in (patch + "b", (patch + "b").encode(), patch[:-1] + "é"):
        error = refusal(larger, {"f": b"a\n"})
        assert error.code is ErrorCode.INVALID
        assert "larger than 1048576 bytes" in error.message


def test_a_file_may_have_a_mebibyte_before_and_after() -> None:
    full = b"a\n" + b"b" * (MAX_FILE_BYTES - 2)
    assert len(applied(f"{NAMED}@@ -1 +1 @@\n-a\n+c\n", {"f": full})["f"]) == MAX_FILE_BYTES
    assert "would be larger" in refusal(f"{NAMED}@@ -1 +1 @@\n-a\n+cc\n", {"f": full}).message
    assert "is larger" in refusal(f"{NAMED}@@ -1 +1 @@\n-a\n+c\n", {"f": full + b"b"}).message


def test_a_large_or_binary_file_can_still_be_deleted() -> None:
    patch = "*** Begin Patch\n*** Delete File: f\n*** End Patch\n"
    assert applied(patch, {"f": b"\xff" * (MAX_FILE_BYTES + 1)}) == {}


def test_a_patch_may_have_a_thousand_files_and_no_more() -> None:
    patch = "".join(NEW.format(number) for number in range(MAX_FILES))
    assert len(applied(patch, {})) == MAX_FILES
    error = refusal(patch + NEW.format("x"), {})
    assert error.message == "line 4001 of the patch begins one file more than the 1000 that a patch may have"
    codex = "".join(f"*** Add File: {number}\n+x\n" for number in range(MAX_FILES + 1))
    assert "1000 files" in refusal(codex, {}).message


def test_a_patch_may_have_ten_thousand_hunks_and_no_more() -> None:
    hunks = "".join(f"@@ -{number * 14 + 1} +1 @@\n-{number * 14:06d}\n+x\n" for number in range(10_000))
    assert applied(NAMED + hunks, {"f": COUNTED})["f"].count(b"x\n") == 10_000
    assert "one hunk more than the 10000" in refusal(f"{NAMED}{hunks}@@ @@\n-a\n+b\n", {"f": COUNTED}).message


def test_all_files_of_a_patch_together_are_bounded() -> None:
    count = MAX_TOTAL_BYTES // MAX_FILE_BYTES // 2 + 1
    patch = "".join(f"--- a/{number}\n+++ b/{number}\n@@ -1 +1 @@\n-a\n+b\n" for number in range(count))
    full = b"a\n" + b"b" * (MAX_FILE_BYTES - 2)
    error = refusal(patch, {str(number): full for number in range(count)})
    assert "the files of the patch are larger than 67108864 bytes" in error.message


def test_right_line_numbers_cost_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "spend", None)
    hunks = "".join(f"@@ -{number * 14 + 1} +1 @@\n-{number * 14:06d}\n+x\n" for number in range(5000))
    assert planned(NAMED + hunks, MemoryTree({"f": COUNTED})).notes == ()


def test_searching_is_bounded_however_many_hunks_have_wrong_numbers() -> None:
    hunks = "".join(f"@@ -{number * 3 + 2} +1 @@\n-{number * 14:06d}\n+x\n" for number in range(10_000))
    error = refusal(NAMED + hunks, {"f": COUNTED})
    assert error.code is ErrorCode.INVALID
    assert error.details["reason"] == "too_much_searching"


def test_hunks_that_build_upon_each_other_are_bounded() -> None:
    hunks = "".join(f"@@ -1 +1 @@\n-{number:06d}\n+{number + 1:06d}\n" for number in range(1, 5000))
    error = refusal(f"{NAMED}@@ -1 +1 @@\n-000000\n+000001\n{hunks}", {"f": COUNTED})
    assert error.details["reason"] in {"too_much_searching", "ambiguous"}


HOSTILE = {
    "a long hunk in a text of the same lines": f"{NAMED}@@ @@\n" + " a\n" * 50_000 + "-b\n",
    "removed lines only": NAMED + "@@ @@\n" + "-\n" * 100_000,
    "empty lines": f"{NAMED}@@ @@\n-a\n" + "\n" * 300_000,
    "marks of missing newlines": f"{NAMED}@@ @@\n-a\n" + "\\ No newline at end\n" * 50_000,
    "headings": "*** Update File: f\n" + "@@ class\n" * 100_000,
    "headings over hunks": "*** Update File: f\n" + "@@ a\n@@ b\n-a\n+b\n" * 9_000,
    "headers": NAMED * 60_000,
    "spaces in a name": f"--- {' ' * 8000}x\n+++ y\n@@ @@\n-a\n+b\n" * 100,
    "spaces in git's names": f"diff --git {'a/b ' * 2000}\n" * 120,
    "slashes in git's names": f"diff --git {'a /' * 2700}\nnew file mode 100644\n" * 120,
    "backslashes in a name": '--- "' + "\\\\" * 500_000 + '"\n+++ y\n@@ @@\n-a\n+b\n',
    "a quote without its end": '--- "' + "\\" * 1_000_000 + "\n+++ y\n@@ @@\n-a\n+b\n",
    "spaces in a header": f"{NAMED}@@ {' ' * 1_000_000}x\n-b\n+c\n",
    "spaces in headers": NAMED + f"@@ {' ' * 990}x\n-b\n+c\n" * 1000,
    "digits in a header": f"{NAMED}@@ -{'9' * 1_000_000}\n-b\n+c\n",
    "changes outside hunks": "- a\n" * 200_000,
    "deep directories": "".join(NEW.format("d/" * 200 + str(number)) for number in range(900)),
}


@pytest.mark.parametrize("patch", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_patches_end_in_an_error_within_the_tests_time(patch: str) -> None:
    assert len(patch) <= MAX_PATCH_BYTES
    error = refusal(patch, {"f": SAME})
    assert error.code in {ErrorCode.INVALID, ErrorCode.CONFLICT}
    assert len(error.message) < 10_000


def test_the_paths_to_ask_for_are_bounded_by_the_patch() -> None:
    deep = "".join(NEW.format("d/" * 98 + str(number)) for number in range(1000))
    assert len(paths_of(parse(deep))) < 2300
    assert paths_of(parse("--- a/../x\n+++ b/x/../../y\n@@ @@\n-a\n+b\n")) == ()


def test_parents_come_before_what_is_in_them() -> None:
    patch = "--- a/d-e/f\n+++ b/d-e/f\n@@ @@\n-a\n+b\n--- a/d/e\n+++ b/d/e\n@@ @@\n-a\n+b\n"
    paths = paths_of(parse(patch))
    for path in paths:
        parent = path.rpartition("/")[0]
        assert not parent or paths.index(parent) < paths.index(path)


def test_an_exhausted_budget_stops_a_search() -> None:
    haystack = Haystack(split_lines(SAME), Budget(10_000))
    with pytest.raises(PyroError, match="too much searching"):
        list(haystack.places([b"a\n", b"a\n"]))


def test_places_overlap_and_stand_at_the_beginnings_of_lines() -> None:
    haystack = Haystack(split_lines(b"a\nba\na\na\na"), Budget())
    assert list(haystack.places([b"a\n", b"a\n"])) == [2]
    assert list(haystack.places([b"a\n"])) == [0, 2, 3]
    assert list(haystack.places([b"a\n"], 1)) == [2, 3]
    assert list(haystack.places([b"a\n", b"a"])) == [3]
    assert list(haystack.places([b"a"])) == [4]
    assert list(haystack.places([b"c\n"])) == []
