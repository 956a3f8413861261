"""Hunks: what `diff` says of many pairs at once, and what stands in for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.review import hunks
from pyro_mcp.workspace.review.hunks import compare, replacement

if TYPE_CHECKING:
    from pathlib import Path


def test_pairs_keep_their_order_and_equal_ones_have_no_hunks(tmp_path: Path) -> None:
    many = [(b"x\n", b"%d\n" % number) for number in range(12)]
    found = compare([(b"a\n", b"b\n"), (b"same\n", b"same\n"), (b"", b"new\n"), (b"gone\n", b""), *many], tmp_path)
    assert found[0].data == b"@@ -1 +1 @@\n-a\n+b\n"
    assert found[1].data == b""
    assert found[2].data == b"@@ -0,0 +1 @@\n+new\n"
    assert found[3].data == b"@@ -1 +0,0 @@\n-gone\n"
    assert [each.data.splitlines()[-1] for each in found[4:]] == [b"+%d" % number for number in range(12)]


def test_text_that_looks_like_a_diff_is_only_text(tmp_path: Path) -> None:
    odd = b"diff -a old/1 new/1\n--- old/1\n+++ new/1\n@@ -1 +1 @@\n\\ No newline at end of file\nOnly in old: 1"
    found = compare([(odd, odd + b"\n"), (b"a\n", b"b\n")], tmp_path)
    assert found[0].data.count(b"\n@@") == 0
    assert (found[0].added, found[0].removed) == (1, 1)
    assert found[1].data == b"@@ -1 +1 @@\n-a\n+b\n"


def test_a_replacement_marks_ends_without_a_newline() -> None:
    note = b"\\ No newline at end of file\n"
    made = replacement(b"a\nb", b"c")
    assert made.data == b"@@ -1,2 +1 @@\n-a\n-b\n" + note + b"+c\n" + note
    assert (made.added, made.removed) == (1, 2)


def test_a_comparison_that_takes_too_long_is_given_up_for_a_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise PyroError(ErrorCode.TIMEOUT, "waited too long")

    monkeypatch.setattr(hunks, "run", never)
    assert compare([(b"a\nb\n", b"a\nc\n")], tmp_path)[0] == replacement(b"a\nb\n", b"a\nc\n")


def test_a_host_without_diff_is_told_which_package_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PyroError(ErrorCode.MISSING_PROGRAM, f"the program {name} is not installed")

    monkeypatch.setattr(hunks, "find_program", missing)
    with pytest.raises(PyroError, match="the program diff is not installed"):
        compare([(b"a\n", b"b\n")], tmp_path)
