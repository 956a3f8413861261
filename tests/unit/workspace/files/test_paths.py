"""Paths in a workspace: what may be named, and what is refused before any guest is asked."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.files.paths import path_below, path_shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/workspace", b""),
        ("/workspace/", b""),
        (".", b""),
        ("./", b""),
        ("/workspace/src/a.py", b"src/a.py"),
        ("/workspace//src/./a.py/", b"src/a.py"),
        ("src/a.py", b"src/a.py"),
        ("./a b", b"a b"),
        ("workspace", b"workspace"),
        ("-rf", b"-rf"),
        ("ä", b"\xc3\xa4"),
        ("\udcff", b"\xff"),
    ],
)
def test_a_path_is_taken_absolute_or_relative(text: str, name: bytes) -> None:
    assert path_below(text) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is not under /workspace"),
        ("/", "is not under /workspace"),
        ("//workspace/a", "is not under /workspace"),
        ("/workspaces/a", "is not under /workspace"),
        ("/workspace-2", "is not under /workspace"),
        ("..", "leads upwards"),
        ("a/../b", "leads upwards"),
        ("/workspace/../etc", "leads upwards"),
        ("a\0b", "holds a NUL"),
        ("\ud800", "half of a character"),
        ("a" * 256, "longer than 255 bytes"),
        ("a/" * 2000, "longer than 3840 bytes"),
        ("a/" * 300, "200 levels deep"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_with_what_to_do(text: str, why: str) -> None:
    with pytest.raises(PyroError, match=why) as caught:
        path_below(text)
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.hint
    assert len(caught.value.message) < 400


def test_the_whole_root_can_be_named_where_all_of_it_is_looked_at() -> None:
    assert path_below("/etc/os-release", root="/") == b"etc/os-release"
    assert path_below("/", root="/") == b""
    assert path_shown(b"etc/os-release", root="/") == "/etc/os-release"
    assert path_shown(b"", root="/") == "/"


def test_a_name_is_shown_in_full_and_harmless() -> None:
    assert path_shown(b"") == "/workspace"
    assert path_shown(b"a\x1b[2J\xff") == "/workspace/a\\x1b[2J\\xff"
