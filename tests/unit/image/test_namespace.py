"""Builds run in namespaces of their own, and a user who can't have them is told what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.image import namespace
from pyro_mcp.image.namespace import enter_namespace

if TYPE_CHECKING:
    from pathlib import Path


def test_a_command_in_the_namespaces_is_root_and_sees_no_process_of_ours() -> None:
    done = enter_namespace().run(["sh", "-c", "id -u; echo $$"], timeout_s=30)

    user, pid = done.text.split()
    assert user == "0"
    assert int(pid) < 10


def test_what_it_mounts_is_not_mounted_here(tmp_path: Path) -> None:
    enter_namespace().run(["mount", "-t", "tmpfs", "none", tmp_path], timeout_s=30)

    with open("/proc/self/mounts", encoding="utf-8") as file:
        assert str(tmp_path) not in file.read()


def test_a_tree_is_removed_with_what_others_own_in_it(tmp_path: Path) -> None:
    place = enter_namespace()
    tree = tmp_path / "tree"
    place.run(
        ["sh", "-c", f"mkdir -p {tree}/secret && touch {tree}/secret/x && chown -R 7:7 {tree}/secret"], timeout_s=30
    )

    place.remove_tree(tree)
    place.remove_tree(tree)

    assert not tree.exists()


def refused(argv: list[str], **_: object) -> process.Completed:
    return process.Completed(tuple(argv), 1, b"", b"unshare: unshare failed: Operation not permitted\n")


def has_range(path: str, user: str) -> bool:
    return bool(path and user)


def test_a_user_without_subordinate_ids_is_told_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 64123)
    monkeypatch.setattr(process, "run", refused)

    with pytest.raises(PyroError, match=r"can't make the user namespace.*Operation not permitted") as caught:
        enter_namespace()

    assert caught.value.code is ErrorCode.PERMISSION
    assert "--add-subuids" in caught.value.hint


def test_a_user_with_subordinate_ids_is_told_of_the_settings_that_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 64123)
    monkeypatch.setattr(process, "run", refused)
    monkeypatch.setattr(namespace, "_has_range", has_range)

    with pytest.raises(PyroError) as caught:
        enter_namespace()

    assert "apparmor_restrict_unprivileged_userns" in caught.value.hint


def test_root_who_can_not_unshare_builds_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(process, "run", refused)

    assert enter_namespace() == namespace.Namespace((), mapped=False)
