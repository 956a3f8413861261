"""The patch of a diff, applied by git to the old tree, gives the new one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.host.durable import remove_tree
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.workspace.review.composing import Composition, compose
from tests.support.thorough import examples
from tests.unit.patches.trees import MemoryTree, git, planned
from tests.unit.workspace.review.file_trees import (
    Node,
    Tree,
    a_directory,
    a_file,
    a_link,
    as_git_sees,
    put,
    taken,
    told,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.workspace.review.changes import TreeChanges

LINES = st.lists(st.sampled_from(["", "a", "b", "-- a", "++ b", "@@ -1 +1 @@", "diff x", "\\ No", "c\r", "\t", "ä"]))


def a_text(lines: list[str], end: str) -> str:
    return "\n".join(lines) + end


TEXTS = st.builds(a_text, LINES, st.sampled_from(["", "\n"]))
NAMES = st.lists(
    st.sampled_from([b"a", b"b", b"c d", b" e", b"f ", b'g"h', b"i\\j", b"k\nl", b"\xc3\xa4", b"\xff", b"-", b"\tm"]),
    min_size=1,
    max_size=2,
).map(b"/".join)
NODES = st.one_of(
    st.builds(a_file, TEXTS, st.sampled_from([0o644, 0o755])),
    st.builds(a_file, TEXTS.map(lambda text: text.encode("latin-1")), st.sampled_from([0o644, 0o755])),
    st.builds(a_file, st.binary(max_size=200), st.sampled_from([0o644, 0o755])),
    st.builds(a_link, st.sampled_from([b"a", b"../b", b"x\ny", b"\xc3\xa4"])),
)


def is_possible(tree: Tree) -> bool:
    """Say whether nothing stands below a file."""
    return not any(other.startswith(path + b"/") for path in tree for other in tree)


TREES = st.dictionaries(NAMES, NODES, max_size=6).filter(is_possible)


def apply(changes: TreeChanges, old: Tree, root: Path) -> Tree:
    """Return what git makes of the old tree."""
    put(root, old)
    if changes.patch:
        done = git("apply", "--whitespace=nowarn", "-", cwd=root, stdin=changes.patch)
        assert done.returncode == 0, done.stderr.decode() + changes.patch.decode("latin-1")
    return taken(root)


@settings(max_examples=examples(150))
@given(old=TREES, new=TREES, moves=st.booleans())
def test_any_tree_is_brought_over_whole(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, new: Tree, *, moves: bool
) -> None:
    root = tmp_path_factory.mktemp("tree")
    changes = compose(told(old, new, binary=True, moves=moves), root / "scratch")
    assert changes.counts.non_text == 0, changes.entries
    assert apply(changes, old, root / "old") == as_git_sees(new)
    assert changes.changed == (old != new)
    remove_tree(root)


PLAIN_TREES = st.dictionaries(
    st.sampled_from([b"a", b"b c", b"d/e", b"d/f\xc3\xa4", b'g"h', b"i\\j", b"k\tl"]),
    st.builds(a_file, TEXTS.filter(lambda text: "\r" not in text), st.sampled_from([0o644, 0o755])),
    max_size=5,
)


@given(old=PLAIN_TREES, new=PLAIN_TREES)
def test_the_patch_of_one_workspace_applies_in_another(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, new: Tree
) -> None:
    changes = compose(told(old, new), tmp_path_factory.getbasetemp())
    tree = MemoryTree({path.decode(): node.data for path, node in old.items()})
    tree.modes.update({path.decode(): node.mode for path, node in old.items()})
    if changes.patch:
        tree = tree.after(planned(changes.patch.decode(), tree))
    assert tree.files == {path.decode(): node.data for path, node in new.items()}
    assert {path: tree.mode(path) for path in tree.files} == {path.decode(): node.mode for path, node in new.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({b"a": a_file("1\n")}, {b"a": a_link(b"b")}, id="a file becomes a link"),
        pytest.param({b"a": a_link(b"b")}, {b"a": a_file("1\n", 0o755)}, id="a link becomes a program"),
        pytest.param({b"a": a_link(b"b")}, {b"a/b": a_file("1\n")}, id="a link becomes a directory"),
        pytest.param({b"a/b": a_file("1\n")}, {b"a": a_file("2\n")}, id="a directory becomes a file"),
        pytest.param({b"a/b/c": a_file("1\n")}, {b"a/b": a_link(b"c")}, id="a directory becomes a link"),
        pytest.param({b"a": a_file("")}, {b"b": a_file("", 0o755)}, id="empty files come and go"),
        pytest.param({b"a b": a_file("")}, {b"c d": a_file("")}, id="empty files with blanks in their names"),
        pytest.param({b"a": a_file("1\n")}, {b"a": a_file("1\n", 0o755)}, id="the mode alone"),
        pytest.param({b"a b": a_file("1\n")}, {b"a b": a_file("1\n", 0o755)}, id="the mode alone, with a blank"),
        pytest.param({b"a": a_file("1\n")}, {b"a": a_file("2\n", 0o755)}, id="mode and content"),
        pytest.param({b"a": a_file("1\r\n2\r\n")}, {b"a": a_file("1\r\n3\r\n")}, id="line ends of Windows"),
        pytest.param({b"a": a_file("1\n2")}, {b"a": a_file("1\n2\n")}, id="a newline at the end"),
        pytest.param({b"a": a_file("1")}, {b"a": a_file("2")}, id="no newline on either side"),
        pytest.param({b"a": a_file("1\n")}, {b"a": a_file("")}, id="emptied"),
        pytest.param({b"a": a_file("\x0c\x0b\x1c\x85\u2028\n")}, {b"a": a_file("\u2028\x0c\n")}, id="odd line ends"),
        pytest.param({}, {b"x/y/z": a_file("1\n"), b"x/y/w": a_file("2\n")}, id="new directories"),
    ],
)
def test_a_change_is_brought_over(tmp_path: Path, old: Tree, new: Tree) -> None:
    changes = compose(told(old, new), tmp_path / "scratch")
    assert all(each.is_patched for each in changes.entries)
    assert apply(changes, old, tmp_path / "old") == as_git_sees(new)


def test_what_a_patch_can_not_bring_is_listed_with_the_reason(tmp_path: Path) -> None:
    old: Tree = {
        b"binary": a_file(b"\0" * 9),
        b"private": a_file("1\n", 0o644),
        b"gone": a_directory(),
        b"text": a_file("1\n"),
    }
    new: Tree = {
        b"binary": a_file(b"\0" * 10),
        b"private": a_file("1\n", 0o600),
        b"made": a_directory(),
        b"pipe": Node(FileKind.OTHER),
        b"text": a_file("2\n"),
    }
    changes = compose(told(old, new), tmp_path / "scratch")
    reasons = {each.path: each.reason for each in changes.entries}
    assert reasons == {
        "binary": "binary",
        "gone": "a directory",
        "made": "a directory",
        "pipe": "a special file",
        "private": "permissions that git does not record",
        "text": "",
    }
    assert (changes.counts.total, changes.counts.text_patched, changes.counts.non_text) == (6, 1, 5)
    assert apply(changes, {b"text": a_file("1\n")}, tmp_path / "old") == {b"text": a_file("2\n")}


def test_what_git_refuses_to_touch_does_not_spoil_the_patch(tmp_path: Path) -> None:
    old: Tree = {b"a": a_file("1\n"), b".git/HEAD": a_file("x\n"), b"sub/.git/logs/HEAD": a_file("1\n")}
    new: Tree = {
        **old,
        b"a": a_file("2\n"),
        b".git/HEAD": a_file("y\n"),
        b"sub/.git/logs/HEAD": a_file("2\n"),
        b".GIT/x": a_file("1\n"),
        b".git./x": a_file("1\n"),
        b"git~1/x": a_file("1\n"),
        b".git::$INDEX_ALLOCATION/x": a_file("1\n"),
        b".gitmodules": a_link(b"a"),
        b"gitmod~1": a_link(b"a"),
        b".gitignore": a_file("1\n"),
        b".github/x": a_file("1\n"),
        b"x.git/y": a_file("1\n"),
    }
    changes = compose(told(old, new), tmp_path / "scratch")
    refused = {each.path for each in changes.entries if "git's own" in each.reason}
    assert {each.path for each in changes.entries if each.is_patched} == {"a", ".gitignore", ".github/x", "x.git/y"}
    assert len(refused) == 8
    patched = apply(changes, {b"a": old[b"a"]}, tmp_path / "old")
    assert set(patched) == {b"a", b".gitignore", b".github/x", b"x.git/y"}


def test_a_moved_file_is_renamed_whatever_it_holds(tmp_path: Path) -> None:
    old: Tree = {b"a.bin": a_file(b"\0" * 9), b"b b": a_file("1\n"), b"c": a_file("2\n"), b"d": a_file("3\n")}
    new: Tree = {b"in/a.bin": a_file(b"\0" * 9), b"b\xc3": a_file("1\n", 0o755), b".envrc": a_file("2\n")}
    changes = compose(told(old, new, moves=True), tmp_path / "scratch", Composition(HookPolicy(), prefix=b"top/"))
    assert b"rename from top/a.bin\nrename to top/in/a.bin\n" in changes.patch
    assert {each.path: each.moved_from for each in changes.entries if each.moved_from} == {
        "in/a.bin": "a.bin",
        "b\\xc3": "b b",
        ".envrc": "c",
    }
    # A file that may not come is not taken away either.
    assert {each.path for each in changes.entries if not each.is_patched} == {"c", ".envrc"}
    assert [each.path for each in changes.missing] == ["c"]
    put(tmp_path / "old", {b"top/" + path: node for path, node in old.items()})
    done = git("apply", "-", cwd=tmp_path / "old", stdin=changes.patch)
    assert done.returncode == 0, done.stderr
    assert set(taken(tmp_path / "old")) == {b"top/in/a.bin", b"top/b\xc3", b"top/c"}


def test_counts_say_what_became_of_each_name(tmp_path: Path) -> None:
    old: Tree = {b"m": a_file("1\n2\n3\n"), b"d": a_file("1\n"), b"t": a_file("1\n")}
    new: Tree = {b"m": a_file("1\nX\n3\nY\n"), b"n/a": a_file("1\n2\n"), b"t": a_link(b"m")}
    changes = compose(told(old, new), tmp_path / "scratch")
    counts = changes.counts
    assert (counts.total, counts.added, counts.modified, counts.deleted, counts.type_changed) == (4, 1, 1, 1, 1)
    lines = {each.path: (each.added_lines, each.removed_lines) for each in changes.entries}
    assert lines == {"m": (2, 1), "d": (0, 1), "n/a": (2, 0), "t": (1, 1)}


def test_a_directory_is_named_only_if_nothing_in_it_is(tmp_path: Path) -> None:
    changes = compose(told({}, {b"a/b/c": a_file("1\n"), b"empty": a_directory()}), tmp_path / "scratch")
    assert [each.path for each in changes.entries] == ["a/b/c", "empty"]


def test_two_equal_trees_have_no_patch_and_need_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    changes = compose(told({}, {}), tmp_path / "scratch")
    assert (changes.changed, changes.patch, changes.entries) == (False, b"", ())


def test_a_list_that_was_cut_short_says_how_much_there_is(tmp_path: Path) -> None:
    changes = compose(told({}, {b"a": a_file("1\n")}, total=70_000), tmp_path / "scratch")
    assert changes.truncated
    assert changes.counts.total == 70_000
    assert changes.counts.added == 1


def test_nothing_is_left_in_the_scratch_directory(tmp_path: Path) -> None:
    compose(told({b"a": a_file("1\n")}, {b"a": a_file("2\n")}), tmp_path / "scratch")
    assert os.listdir(tmp_path / "scratch") == []
