"""A file is what its digest says, or it is refused; proving it again is cheap until something changes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.image import integrity
from pyro_mcp.image.integrity import STAMPS, Artifact, digest_of, measure, seal, verify

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"kernel" * 1000


@pytest.fixture
def artifacts(tmp_path: Path) -> dict[str, Artifact]:
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b").write_bytes(b"more")
    return {name: measure(tmp_path / name) for name in ("a", "sub/b")}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record each full reading of a file."""
    seen: list[int] = []
    whole = integrity._measure  # pyright: ignore[reportPrivateUsage]

    def counting(fd: int) -> Artifact:
        seen.append(fd)
        return whole(fd)

    monkeypatch.setattr(integrity, "_measure", counting)
    return seen


def flip_a_byte(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(bytes([file.read(1)[0] ^ 1]))


def test_measuring_gives_digest_and_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)

    assert measure(tmp_path / "f") == Artifact(digest_of(CONTENT), len(CONTENT))


def test_what_is_as_it_was_is_accepted(tmp_path: Path, artifacts: dict[str, Artifact]) -> None:
    verify(tmp_path, artifacts)
    verify(tmp_path, artifacts)


@pytest.mark.usefixtures("artifacts")
def test_sealed_files_are_not_read_again(tmp_path: Path, artifacts: dict[str, Artifact], reads: list[int]) -> None:
    seal(tmp_path, artifacts)

    verify(tmp_path, artifacts)

    assert reads == []


def test_files_that_were_proven_once_are_not_read_again(
    tmp_path: Path, artifacts: dict[str, Artifact], reads: list[int]
) -> None:
    seal(tmp_path, artifacts)
    (tmp_path / STAMPS).unlink()

    verify(tmp_path, artifacts)
    verify(tmp_path, artifacts)

    assert len(reads) == len(artifacts)


def test_a_flipped_byte_is_noticed_though_size_and_time_are_as_before(
    tmp_path: Path, artifacts: dict[str, Artifact]
) -> None:
    seal(tmp_path, artifacts)
    before = os.stat(tmp_path / "a")
    flip_a_byte(tmp_path / "a")
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(PyroError, match="a does not match its digest") as caught:
        verify(tmp_path, artifacts)

    assert caught.value.code is ErrorCode.CORRUPT


def test_another_file_put_in_its_place_is_noticed(tmp_path: Path, artifacts: dict[str, Artifact]) -> None:
    seal(tmp_path, artifacts)
    (tmp_path / "other").write_bytes(CONTENT.replace(b"k", b"K"))
    os.rename(tmp_path / "other", tmp_path / "a")

    with pytest.raises(PyroError, match="does not match its digest"):
        verify(tmp_path, artifacts)


def test_a_truncated_file_is_refused_without_being_read(
    tmp_path: Path, artifacts: dict[str, Artifact], reads: list[int]
) -> None:
    os.truncate(tmp_path / "a", 10)

    with pytest.raises(PyroError, match="a has 10 bytes instead of 6000"):
        verify(tmp_path, artifacts)

    assert reads == []


def test_a_missing_file_is_named(tmp_path: Path, artifacts: dict[str, Artifact]) -> None:
    seal(tmp_path, artifacts)
    (tmp_path / "sub/b").unlink()

    with pytest.raises(PyroError, match="b is missing"):
        verify(tmp_path, artifacts)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, artifacts: dict[str, Artifact], kind: str) -> None:
    path = tmp_path / "a"
    os.rename(path, tmp_path / "aside")
    match kind:
        case "link":
            path.symlink_to("aside")
        case "directory":
            path.mkdir()
        case _:
            os.mkfifo(path)

    with pytest.raises(PyroError) as caught:
        verify(tmp_path, artifacts)

    assert caught.value.code is ErrorCode.CORRUPT


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"a": 1, "sub/b": ["x"]}', b"[" * 100_000, b"\xff\xfe"])
def test_a_damaged_record_only_costs_a_reading(
    tmp_path: Path, artifacts: dict[str, Artifact], reads: list[int], record: bytes
) -> None:
    (tmp_path / STAMPS).write_bytes(record)

    verify(tmp_path, artifacts)

    assert len(reads) == len(artifacts)


def test_a_record_for_another_digest_does_not_count(tmp_path: Path, artifacts: dict[str, Artifact]) -> None:
    seal(tmp_path, artifacts)

    with pytest.raises(PyroError, match="does not match its digest"):
        verify(tmp_path, {"a": Artifact("0" * 64, len(CONTENT))})


def test_a_full_disk_does_not_make_a_good_file_bad(
    tmp_path: Path, artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both of them have something to write: no file changed in this tick of the clock.
    latest = max(os.stat(tmp_path / name).st_ctime_ns for name in artifacts)
    monkeypatch.setattr(integrity, "_change_clock_ns", lambda: latest + 1)
    for prove in (verify, seal):
        forget_hits()
        monkeypatch.setenv("PYRO_FAULT_POINT", "atomic_write.before_sync:no_space")
        prove(tmp_path, artifacts)
        assert not (tmp_path / STAMPS).exists()

        monkeypatch.delenv("PYRO_FAULT_POINT")
        prove(tmp_path, artifacts)
        (tmp_path / STAMPS).unlink()


def test_a_file_that_changed_in_the_tick_of_its_verification_gets_no_stamp(
    tmp_path: Path, artifacts: dict[str, Artifact], reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = max(os.stat(tmp_path / name).st_ctime_ns for name in artifacts)
    monkeypatch.setattr(integrity, "_change_clock_ns", lambda: latest)

    verify(tmp_path, artifacts)
    first = len(reads)
    verify(tmp_path, artifacts)

    assert first == len(artifacts)
    assert len(reads) > first


def test_reading_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(PyroError) as caught:
        measure(tmp_path / "nothing")

    assert caught.value.code is ErrorCode.NOT_FOUND
    assert caught.value.details["errno"] == errno.errorcode[errno.ENOENT]
