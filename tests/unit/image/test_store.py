"""What is published is there whole; what is not needed goes away; what is damaged is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.integrity import measure
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.store import CURRENT, Install, Shelf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "tmp").mkdir(mode=0o700)
    return Shelf("thing", tmp_path / "things", tmp_path / "tmp")


def publish(shelf: Shelf, content: str, *, label: str = "a") -> Install:
    contents = shelf.root.parent / f"contents-{os.urandom(4).hex()}"
    (contents / "sub").mkdir(parents=True)
    for name in ("one", "sub/two"):
        (contents / name).write_text(content)
    artifacts = {name: measure(contents / name) for name in ("one", "sub/two")}
    return shelf.publish(label, contents, Manifest("thing", label, artifacts, {"note": content}))


def test_what_was_published_is_found_with_all_its_files(shelf: Shelf) -> None:
    install = publish(shelf, "x")

    assert shelf.open("a") == install
    assert (install.directory / "sub/two").read_text() == "x"
    assert install.directory.name == install.digest[:12]


def test_nothing_is_found_where_nothing_was_published(shelf: Shelf) -> None:
    assert shelf.open("a") is None
    assert shelf.labels() == []
    assert shelf.digests("a") == []


def test_the_last_one_published_is_the_current_one_and_those_before_stay(shelf: Shelf) -> None:
    first, second = publish(shelf, "1"), publish(shelf, "2")

    assert shelf.open("a") == second
    assert shelf.open("a", first.digest) == first


def test_publishing_the_same_again_replaces_a_damaged_copy(shelf: Shelf) -> None:
    first = publish(shelf, "x")
    (first.directory / "one").write_text("y")

    again = publish(shelf, "x")

    assert again == first
    assert shelf.open("a") == again


def test_a_digest_that_is_not_there_is_not_found(shelf: Shelf) -> None:
    publish(shelf, "x")

    assert shelf.open("a", "0" * 64) is None


@pytest.mark.parametrize("digest", ["", "..", "../../etc", "0" * 12])
def test_what_is_no_digest_leads_nowhere(shelf: Shelf, digest: str) -> None:
    publish(shelf, "x")

    assert shelf.open("a", digest) is None


def test_a_manifest_of_another_kind_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    publish(shelf, "x")

    with pytest.raises(PyroError, match="of kind 'thing' instead of 'other'") as caught:
        Shelf("other", shelf.root, shelf.tmp).open("a")

    assert caught.value.code is ErrorCode.CORRUPT


def test_only_what_neither_the_pointer_nor_the_caller_names_is_unneeded(shelf: Shelf) -> None:
    first, second, third = (publish(shelf, content) for content in "123")

    def unneeded(*keep: str, keep_current: bool) -> set[str]:
        return {path.name for path in shelf.unneeded("a", keep, keep_current=keep_current)}

    short = {install.digest: install.digest[:12] for install in (first, second, third)}
    assert unneeded(keep_current=True) == {short[first.digest], short[second.digest]}
    assert unneeded(first.digest, keep_current=True) == {short[second.digest]}
    assert unneeded(short[first.digest], keep_current=False) == {short[second.digest], short[third.digest]}


def test_an_unreadable_pointer_keeps_nothing(shelf: Shelf) -> None:
    install = publish(shelf, "x")
    (shelf.root / "a" / CURRENT).write_text("garbage")

    assert shelf.unneeded("a", (), keep_current=True) == [install.directory]


def test_removing_takes_the_directory_and_leaves_nothing_aside(shelf: Shelf) -> None:
    install = publish(shelf, "x")

    shelf.remove(install.directory)
    shelf.remove(install.directory)

    assert shelf.digests("a") == []
    assert list(shelf.tmp.iterdir()) == []
    shelf.remove_label("a")
    assert shelf.labels() == []


def test_the_pointer_is_out_of_date_only_until_the_files_are_there(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(shelf, "1")
    monkeypatch.setenv("PYRO_FAULT_POINT", "install.before_current:raise")

    with pytest.raises(PyroError):
        publish(shelf, "2")

    assert shelf.open("a") == first
