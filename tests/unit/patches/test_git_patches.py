"""What git says in headers: names, modes, renames, copies, files that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.model.kinds import FileKind
from pyro_mcp.patches import Action, Delete, Write
from pyro_mcp.patches.names import git_names
from tests.unit.patches.trees import MemoryTree, applied, git_apply, git_diff, planned, refusal

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"".join(b"line %d\n" % number for number in range(90))
ODD_NAMES = [
    "with space",
    "two  spaces",
    " leading",
    "tab\there",
    "new\nline",
    'q"uote',
    "back\\slash",
    "é",
    "-dash",
    "a b/a b",
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("options", [[], ["--no-prefix"], ["--src-prefix=x/", "--dst-prefix=y/"]], ids=str)
def test_names_are_read_as_git_writes_them(tmp_path: Path, name: str, options: list[str]) -> None:
    before = MemoryTree({name: b"a\n", "gone " + name: b"b\n", "mode " + name: b"c\n"})
    after = MemoryTree({name: b"A\n", "new " + name: b"", "mode " + name: b"c\n"}, {"mode " + name: 0o755})
    patch = git_diff(tmp_path, before, after, "--no-renames", *options)
    made = before.after(planned(patch, before))
    assert made.files == after.files
    assert made.modes["mode " + name] == 0o755


def test_names_that_are_not_utf8_keep_their_bytes() -> None:
    patch = 'diff --git "a/\\377" "b/\\377"\n--- "a/\\377"\n+++ "b/\\377"\n@@ -1 +1 @@\n-a\n+b\n'
    assert applied(patch, {"\udcff": b"a\n"}) == {"\udcff": b"b\n"}


def test_a_rename_moves_content_and_mode_and_changes_both(tmp_path: Path) -> None:
    before = MemoryTree({"old.sh": TEXT}, {"old.sh": 0o644})
    after = MemoryTree({"bin/new.sh": TEXT.replace(b"line 7\n", b"line seven\n")}, {"bin/new.sh": 0o755})
    patch = git_diff(tmp_path, before, after, "-M")
    assert b"rename from old.sh" in patch
    plan = planned(patch, before)
    assert plan.changes == (Delete("old.sh"), Write("bin/new.sh", after.files["bin/new.sh"], 0o755, created=True))
    assert (plan.files[0].action, plan.files[0].path, plan.files[0].source) == (Action.RENAME, "bin/new.sh", "old.sh")


def test_a_copy_leaves_its_source_even_if_that_is_changed_too(tmp_path: Path) -> None:
    before = MemoryTree({"one": TEXT})
    after = MemoryTree({"one": TEXT + b"more\n", "copy": TEXT, "two": b"first\n" + TEXT})
    patch = git_diff(tmp_path, before, after, "-C", "-C")
    assert patch.count(b"copy from one") == 2
    assert before.after(planned(patch, before)).files == after.files


def test_two_files_change_places(tmp_path: Path) -> None:
    before = MemoryTree({"a": TEXT, "b": TEXT.upper()})
    after = MemoryTree({"a": TEXT.upper(), "b": TEXT})
    patch = git_diff(tmp_path, before, after, "-B", "-M")
    assert patch.count(b"rename from") == 2
    plan = planned(patch, before)
    assert before.after(plan).files == after.files
    assert [change for change in plan.changes if isinstance(change, Delete)] == []


def test_a_file_makes_room_for_a_directory_of_its_name(tmp_path: Path) -> None:
    before, after = MemoryTree({"n": b"a\n"}), MemoryTree({"n/m": b"b\n"})
    patch = git_diff(tmp_path, before, after, "--no-renames")
    assert planned(patch, before).changes == (Delete("n"), Write("n/m", b"b\n", 0o644, created=True))
    patch = "diff --git a/n b/n/m\nsimilarity index 100%\nrename from n\nrename to n/m\n"
    assert planned(patch, before).changes == (Delete("n"), Write("n/m", b"a\n", 0o644, created=True))


def test_an_empty_file_comes_and_goes(tmp_path: Path) -> None:
    before, after = MemoryTree({"old": b""}), MemoryTree({"new": b""}, {"new": 0o755})
    patch = git_diff(tmp_path, before, after, "--no-renames")
    assert planned(patch, before).changes == (Delete("old"), Write("new", b"", 0o755, created=True))


def test_a_file_that_is_emptied_is_not_deleted(tmp_path: Path) -> None:
    before, after = MemoryTree({"f": b"a\n"}), MemoryTree({"f": b""})
    patch = git_diff(tmp_path, before, after)
    assert planned(patch, before).changes == (Write("f", b"", 0o644, created=False),)


@pytest.mark.parametrize(
    ("mode", "executable", "plain"), [(0o640, 0o750, 0o640), (0o600, 0o700, 0o600), (0o664, 0o775, 0o664)]
)
def test_modes_change_for_those_who_may_read(mode: int, executable: int, plain: int) -> None:
    patch = "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n"
    assert planned(patch, MemoryTree({"f": b"\xff\0"}, {"f": mode})).changes == (
        Write("f", b"\xff\0", executable, created=False),
    )
    patch = "diff --git a/f b/f\nold mode 100755\nnew mode 100644\n"
    assert planned(patch, MemoryTree({"f": b"a"}, {"f": executable})).changes == (
        Write("f", b"a", plain, created=False),
    )


def test_a_changed_file_keeps_its_mode() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert planned(patch, MemoryTree({"f": b"a\n"}, {"f": 0o751})).changes == (
        Write("f", b"b\n", 0o751, created=False),
    )


def test_a_new_file_has_the_usual_mode_or_the_one_it_is_given() -> None:
    hunk = "@@ -0,0 +1 @@\n+a\n"
    plain = f"--- /dev/null\n+++ b/f\n{hunk}"
    assert planned(plain, MemoryTree({})).changes == (Write("f", b"a\n", 0o644, created=True),)
    script = f"diff --git a/f b/f\nnew file mode 100755\n{plain}"
    assert planned(script, MemoryTree({})).changes == (Write("f", b"a\n", 0o755, created=True),)


def test_a_file_that_one_patch_creates_is_changed_by_it_again() -> None:
    patch = "--- /dev/null\n+++ b/d/f\n@@ -0,0 +1 @@\n+a\n--- d/f\n+++ d/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, {"f": b"a\n", "d/g": b""}) == {"f": b"a\n", "d/g": b"", "d/f": b"b\n"}


def test_a_file_that_one_patch_deletes_is_created_by_it_again() -> None:
    patch = "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+b\n"
    assert planned(patch, MemoryTree({"f": b"a\n"})).changes == (Write("f", b"b\n", 0o644, created=False),)


def test_a_file_that_one_patch_renames_is_changed_by_it_afterwards() -> None:
    patch = "diff --git a/f b/g\nrename from f\nrename to g\n--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, {"f": b"a\n"}) == {"g": b"b\n"}


def test_a_file_named_on_both_sides_is_created_where_it_is_not_there() -> None:
    patch = "--- a/new\n+++ b/new\n@@ -0,0 +1 @@\n+a\n"
    plan = planned(patch, MemoryTree({}))
    assert plan.changes == (Write("new", b"a\n", 0o644, created=True),)
    assert plan.files[0].action is Action.CREATE


@pytest.mark.parametrize(
    "epoch", ["1970-01-01 00:00:00.000000000 +0000", "1970-01-01 01:00:00 +0100", "1969-12-31 19:00:00 -0500"]
)
def test_files_come_and_go_in_what_diff_writes_of_two_directories(epoch: str) -> None:
    today = "2024-05-01 10:11:12.000000000 +0200"
    patch = (
        f"diff -urN a/gone b/gone\n--- a/gone\t{today}\n+++ b/gone\t{epoch}\n@@ -1 +0,0 @@\n-a\n"
        f"diff -urN a/new b/new\n--- a/new\t{epoch}\n+++ b/new\t{today}\n@@ -0,0 +1 @@\n+b\n"
        f"diff -urN a/emptied b/emptied\n--- a/emptied\t{today}\n+++ b/emptied\t{today}\n@@ -1 +0,0 @@\n-c\n"
    )
    assert applied(patch, {"gone": b"a\n", "emptied": b"c\n"}) == {"new": b"b\n", "emptied": b""}


def test_names_without_prefixes_win_over_names_with_one_taken_off() -> None:
    patch = "--- src/f\n+++ src/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, {"src/f": b"a\n", "f": b"a\n"}) == {"src/f": b"b\n", "f": b"a\n"}


def test_prefixes_win_over_directories_of_their_name_as_with_git(tmp_path: Path) -> None:
    files = {"a/f": b"a\n", "b/f": b"a\n", "f": b"a\n"}
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, files) == {**files, "f": b"b\n"} == git_apply(tmp_path, files, patch.encode())


def test_a_directory_that_is_called_like_a_prefix_is_found() -> None:
    patch = "--- a/f\n+++ a/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(patch, {"a/f": b"a\n"}) == {"a/f": b"b\n"}


def test_a_new_file_goes_where_the_other_names_of_the_patch_tell() -> None:
    new = "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+n\n"
    prefixed = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
    bare = "--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(prefixed + new, {"f": b"a\n"}) == {"f": b"b\n", "new": b"n\n"}
    assert applied(new, {"f": b"a\n"}) == {"f": b"a\n", "new": b"n\n"}
    assert applied(bare + new, {"f": b"a\n"}) == {"f": b"b\n", "new": b"n\n"}
    assert applied(bare + new, {"f": b"a\n", "b/g": b""}) == {"f": b"b\n", "b/g": b"", "b/new": b"n\n"}


def test_a_name_is_not_taken_for_one_in_another_directory() -> None:
    patch = "--- src/f\n+++ src/f\n@@ -1 +1 @@\n-a\n+b\n"
    assert refusal(patch, {"src/g": b"a\n", "f": b"a\n"}).message == "src/f: the file is not there"
    assert applied(patch, {"f": b"a\n"}) == {"f": b"b\n"}


def test_a_change_of_nothing_is_not_among_the_changes() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+a\n--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n"
    plan = planned(patch, MemoryTree({"f": b"a\n", "g": b"a\n"}))
    assert plan.changes == (Write("g", b"b\n", 0o644, created=False),)


def test_a_patch_that_would_change_nothing_says_so() -> None:
    patch = "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n"
    error = refusal(patch, MemoryTree({"f": b"a\n"}, {"f": 0o755}))
    assert error.message == "the patch changes nothing: all its changes are already applied"


SPECIAL = {
    "a link that is new": (
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
        "line 2 of the patch gives the mode 120000 of l, which is a symbolic link",
    ),
    "a link that changes": (
        "diff --git a/l b/l\nindex 1234567..89abcde 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-x\n+y\n",
        "line 2 of the patch gives the mode 120000 of l, which is a symbolic link",
    ),
    "a link that goes": (
        "diff --git a/l b/l\ndeleted file mode 120000\n",
        "line 2 of the patch gives the mode 120000 of l, which is a symbolic link",
    ),
    "a file that becomes a link": (
        "diff --git a/l b/l\nold mode 100644\nnew mode 120000\n",
        "line 3 of the patch gives the mode 120000 of l, which is a symbolic link",
    ),
    "a submodule": (
        "diff --git a/sub b/sub\nindex 1234567..89abcde 160000\n--- a/sub\n+++ b/sub\n@@ -1 +1 @@\n-x\n+y\n",
        "line 2 of the patch gives the mode 160000 of sub, which is a submodule",
    ),
    "a device": (
        "diff --git a/dev b/dev\nnew file mode 060000\n",
        "line 2 of the patch gives the mode 060000 of dev, which is no kind of file that git knows",
    ),
    "a binary patch": (
        "diff --git a/i b/i\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZ\n",
        "line 3 of the patch begins a binary change of i: patches change text only",
    ),
    "binary files without their content": (
        "diff --git a/i b/i\nindex 1..2 100644\nBinary files a/i and b/i differ\n",
        "line 3 of the patch begins a binary change of i: patches change text only",
    ),
    "a merge": (
        "diff --cc f\nindex 1,2..3\n--- a/f\n+++ b/f\n@@@ -1,1 -1,1 +1,1 @@@\n- a\n -b\n++c\n",
        "line 1 of the patch begins the combined diff of a merge, which has several old sides",
    ),
    "a context diff": (
        "*** f\t2024-01-01\n--- f\t2024-01-02\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n",
        "line 3 of the patch begins a context diff",
    ),
}


@pytest.mark.parametrize(("patch", "message"), SPECIAL.values(), ids=SPECIAL.keys())
def test_what_is_not_text_is_refused_by_its_name(patch: str, message: str) -> None:
    error = refusal(patch, {"l": b"x\n", "sub": b"x\n", "i": b"x\n", "f": b"a\n"})
    assert error.message.startswith(message)
    assert error.hint


@pytest.mark.parametrize("kind", [FileKind.LINK, FileKind.DIRECTORY, FileKind.OTHER])
def test_what_is_no_regular_file_in_the_tree_is_left_alone(kind: FileKind) -> None:
    what = {FileKind.LINK: "a symbolic link", FileKind.DIRECTORY: "a directory", FileKind.OTHER: "no regular file"}[
        kind
    ]
    for patch in (
        "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n",
        "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
        "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+a\n",
        "*** Begin Patch\n*** Delete File: f\n*** End Patch\n",
        "diff --git a/f b/g\nrename from f\nrename to g\n",
    ):
        assert refusal(patch, MemoryTree({}, special={"f": kind})).message.endswith(f"is {what}")


NAMES = {
    b"a/f b/f": ("a/f", "b/f"),
    b"f f": ("f", "f"),
    b"a/f f b/f f": ("a/f f", "b/f f"),
    b"a b/f a b/f": ("a b/f", "a b/f"),
    b'"a/\\303\\244" "b/\\303\\244"': ("a/ä", "b/ä"),
    b'a/f "b/\\t"': ("a/f", "b/\t"),
    b'"a/\\t" b/f': ("a/\t", "b/f"),
    b"a/f b/g": None,
    b"f": None,
    b"": None,
    b'"a/f b/f': None,
    b'a/f b/"f': None,
    b'"a/\\8" "b/\\8"': None,
    b'"a/f" "b/f': None,
}


@pytest.mark.parametrize(("line", "names"), NAMES.items(), ids=str)
def test_the_names_of_a_git_header_are_told_apart(line: bytes, names: tuple[str, str] | None) -> None:
    assert git_names(line + b"\r\n") == names


def test_a_file_that_vanishes_while_it_is_read_is_a_conflict() -> None:
    class Vanishing(MemoryTree):
        def read(self, path: str) -> bytes | None:
            assert path == "f"

    error = refusal("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n", Vanishing({"f": b"a\n"}))
    assert error.message == "f: could not be read"
