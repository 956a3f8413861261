"""The initramfs archive says exactly what it was given, and always in the same bytes."""

from __future__ import annotations

import io
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image import cpio
from tests.support.cpio_reader import Member, read_members


def archive(*entries: cpio.Entry) -> bytes:
    out = io.BytesIO()
    size = cpio.write_archive(out, entries)
    assert size == len(out.getvalue())
    return out.getvalue()


def read_back(data: bytes) -> list[Member]:
    return list(read_members(data))


def test_every_kind_of_entry_reads_back_as_it_was_written() -> None:
    members = read_back(
        archive(
            cpio.file("init", b"#!/bin/sh\n", 0o755),
            cpio.symlink("bin/sh", "busybox"),
            cpio.character_device("dev/console", 5, 1),
            cpio.directory("proc", 0o555),
        )
    )

    by_path = {member.path: member for member in members}
    assert by_path["init"].data == b"#!/bin/sh\n"
    assert by_path["init"].mode == stat.S_IFREG | 0o755
    assert by_path["bin/sh"].mode == stat.S_IFLNK | 0o777
    assert by_path["bin/sh"].data == b"busybox"
    assert by_path["dev/console"].mode == stat.S_IFCHR | 0o600
    assert by_path["dev/console"].device == (5, 1)
    assert by_path["proc"].mode == stat.S_IFDIR | 0o555


def test_directories_come_before_what_is_in_them_without_being_asked_for() -> None:
    paths = [member.path for member in read_back(archive(cpio.file("a-b", b""), cpio.file("a/b/c", b"")))]

    assert paths == ["a", "a/b", "a/b/c", "a-b"]


def test_a_directory_that_was_given_keeps_its_mode() -> None:
    members = read_back(archive(cpio.file("tmp/x", b""), cpio.directory("tmp", 0o1777)))

    assert [(member.path, stat.S_IMODE(member.mode)) for member in members] == [("tmp", 0o1777), ("tmp/x", 0o644)]


def test_the_same_entries_in_another_order_make_the_same_bytes() -> None:
    entries = [cpio.file("b", b"2"), cpio.directory("c"), cpio.file("a/x", b"1")]

    assert archive(*entries) == archive(*reversed(entries))


def test_everything_belongs_to_root_and_has_no_time() -> None:
    assert {(m.uid, m.gid, m.mtime) for m in read_back(archive(cpio.file("d/f", b"x")))} == {(0, 0, 0)}


def test_the_archive_ends_on_a_block() -> None:
    assert len(archive(cpio.file("f", b"12345"))) % 512 == 0


@pytest.mark.parametrize("path", ["/init", "a//b", "a/../b", "./a", "", "a/", "a\0b"])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(PyroError) as caught:
        archive(cpio.file(path, b""))

    assert caught.value.code is ErrorCode.INVALID


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(PyroError, match="twice"):
        archive(cpio.file("a", b"1"), cpio.file("a", b"2"))


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,6}(-[a-z]{1,6}){0,3}", fullmatch=True), st.binary(max_size=64), max_size=8)
)
def test_any_files_read_back_as_they_were_written(files: dict[str, bytes]) -> None:
    members = read_back(archive(*(cpio.file(path, data) for path, data in files.items())))

    assert {member.path: member.data for member in members} == files
