"""What a guest sends comes out under one new path, whole, or not at all."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import tar_writer
from pyro_mcp.trees import receive
from pyro_mcp.trees.entries import Bounds, Kind, Note
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.receive import TreeReceiver
from pyro_mcp.trees.staging import PREFIX, staged_beside
from pyro_mcp.trees.tree_writer import current_umask
from tests.support.receiving import receive_tree
from tests.support.thorough import examples
from tests.unit.trees.looking_in import described

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = tar_writer.directory_header(b"", 0o755, 0)
END = tar_writer.END
EVERYTHING = HookPolicy(include_all=True)


def file(name: bytes, content: bytes = b"x", mode: int = 0o644) -> bytes:
    header = tar_writer.file_header(name, mode, 1_700_000_000_000_000_000, len(content))
    return header + content + tar_writer.padding(len(content))


def directory(name: bytes, mode: int = 0o755) -> bytes:
    return tar_writer.directory_header(name, mode, 0)


def symlink(name: bytes, target: bytes) -> bytes:
    return tar_writer.symlink_header(name, target, 0)


def link(name: bytes, target: bytes) -> bytes:
    return tar_writer.link_header(name, target, 0o644, 0)


def special(name: bytes, kind: bytes) -> bytes:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type = kind
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.fixture
def output(tmp_path: Path) -> Generator[Path]:
    """Give a test a path to export to, in a directory where nothing else may appear."""
    place = tmp_path / "place"
    place.mkdir()
    yield place / "out"
    assert set(os.listdir(place)) <= {"out"}


def received(output: Path, *pieces: bytes, hooks: HookPolicy | None = None) -> receive.ReceiveReport:
    return receive_tree([b"".join([ROOT, *pieces, END])], output, hooks=hooks)


def test_a_tree_comes_out_as_it_was(tmp_path: Path, output: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "sub/read only").write_text("x")
    (tree / "sub/read only").chmod(0o444)
    (tree / "sub/link").symlink_to("../run")
    (tree / "dangling").symlink_to("missing/entirely")
    os.link(tree / "run", tree / "sub/again")
    (tree / "line\nbreak -rf $(x)").write_text("y")
    with open(os.fsencode(tree) + b"/latin\xe9", "wb") as out:
        out.write(os.urandom(1_000_000))
    with open(tree / "sparse", "wb") as out:
        os.pwrite(out.fileno(), b"data", 900_000)
        out.truncate(2_000_000)
    os.utime(tree / "run", ns=(0, 1_600_000_000_000_000_000))

    report = receive_tree(stream_tree(tree), output)

    assert described(output) == described(tree)
    assert (output / "sparse").stat().st_blocks == (tree / "sparse").stat().st_blocks
    assert (output / "run").stat().st_ino == (output / "sub/again").stat().st_ino
    assert (output / "run").stat().st_mtime_ns == 1_600_000_000_000_000_000
    assert (report.output_path, report.kind) == (str(output), Kind.DIRECTORY)
    assert report.entry_count == len(described(tree))
    assert (report.left_out, report.left_out_count, report.host_hook_count) == ((), 0, 0)


def test_a_single_file_comes_out_as_a_file(output: Path) -> None:
    report = receive_tree([file(b".", b"content", 0o755) + END], output)

    assert output.read_bytes() == b"content"
    assert output.stat().st_mode & 0o777 == 0o755 & ~current_umask()
    assert (report.kind, report.entry_count, report.bytes_written) == (Kind.FILE, 1, 7)


def test_an_empty_directory_comes_out(output: Path) -> None:
    assert received(output).entry_count == 0
    assert os.listdir(output) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_kept_within_the_umask_and_nothing_becomes_unremovable(output: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        received(
            output,
            directory(b"closed", 0o000),
            file(b"closed/f", mode=0o000),
            directory(b"open", 0o7777),
            file(b"open/suid", mode=0o6777),
        )
    finally:
        os.umask(before)

    modes = {name: (output / name).stat().st_mode & 0o7777 for name in ("closed", "closed/f", "open", "open/suid")}
    assert modes == {"closed": 0o700, "closed/f": 0o400, "open": 0o777 & ~umask, "open/suid": 0o777 & ~umask}


@pytest.mark.parametrize("made", ["file", "directory", "dangling link", "link to a directory"])
def test_nothing_is_ever_overwritten(tmp_path: Path, output: Path, made: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    match made:
        case "file":
            output.write_text("precious")
        case "directory":
            output.mkdir()
        case "dangling link":
            output.symlink_to("missing")
        case _:
            output.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PyroError, match="already exists") as caught:
        received(output, file(b"f"))

    assert caught.value.code is ErrorCode.CONFLICT
    assert os.listdir(tmp_path / "elsewhere") == []
    if made == "file":
        assert output.read_text() == "precious"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_comes_up_meanwhile_is_not_overwritten_either(output: Path, kind: str) -> None:
    root = file(b".") if kind == "file" else ROOT + file(b"f")

    with TreeReceiver(output) as receiver:
        receiver.feed(root + END)
        output.write_text("precious")
        with pytest.raises(PyroError) as caught:
            receiver.finish()

    assert caught.value.code is ErrorCode.CONFLICT
    assert output.read_text() == "precious"


def test_missing_directories_are_made_and_go_after_a_failure(tmp_path: Path) -> None:
    received(tmp_path / "new/deep/out")
    assert (tmp_path / "new/deep/out").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(PyroError) as caught:
        received(tmp_path / "file/out")
    assert caught.value.code in {ErrorCode.INVALID, ErrorCode.CONFLICT}
    with pytest.raises(RuntimeError), staged_beside(tmp_path / "other/deep/out"):
        raise RuntimeError
    assert not (tmp_path / "other").exists()
    with pytest.raises(PyroError) as caught:
        received(tmp_path / "new/deep/out")
    assert caught.value.code is ErrorCode.CONFLICT

    with pytest.raises(PyroError) as caught:
        received(tmp_path / "..")
    assert caught.value.code in {ErrorCode.INVALID, ErrorCode.CONFLICT}


BREACHES = [
    ([file(b"/abs")], "is absolute"),
    ([file(b"../up")], "leads upwards"),
    ([directory(b"d"), file(b"d/../../up")], "leads upwards"),
    ([file(b"n" * 256)], "longer than 255"),
    ([file(b"l/" * 2000 + b"x")], "longer than 3840"),
    ([file(b"missing/f")], "is not in a directory that it sent before"),
    ([file(b"f"), file(b"f/g")], "is not in a directory"),
    ([file(b"f"), file(b"f")], "sends f twice"),
    ([file(b"f"), file(b"./f")], "sends f twice"),
    ([directory(b"d"), directory(b"d")], "sends d twice"),
    ([directory(b"d"), file(b"d")], "sends d twice"),
    ([file(b"f"), symlink(b"f", b"x")], "sends f twice"),
    ([symlink(b"s", b"x"), symlink(b"s", b"y")], "sends s twice"),
    ([symlink(b"s", b"x"), file(b"s")], "sends s twice"),
    ([symlink(b"s", b"d"), directory(b"d"), file(b"s/f")], "is not in a directory"),
    ([symlink(b"s", b"")], "invalid target"),
    ([symlink(b"s", b"t" * 4096)], "invalid target"),
    ([ROOT], "the root of the tree twice"),
    ([link(b"h", b"/etc/passwd")], "whose target is absolute"),
    ([link(b"h", b"../x")], "whose target leads upwards"),
    ([directory(b"d"), link(b"h", b"d")], "hard link to a directory"),
    ([file(b"f"), link(b"h", b"f/x")], "hard link to no file"),
    ([file(b"bad\x1b]0;x\x07\n"), file(b"bad\x1b]0;x\x07\n")], "sends bad\\x1b]0;x\\x07\\x0a twice"),
    ([b"\xff" * 512], "is damaged"),
    ([file(b"f") + END + file(b"g")], "goes on after its end"),
    ([file(b"f", b"x" * 5000)[:-512]], "cut off"),
]


@pytest.mark.parametrize(("pieces", "why"), BREACHES)
def test_a_stream_that_breaks_the_form_is_refused_whole(output: Path, pieces: list[bytes], why: str) -> None:
    with pytest.raises(
        PyroError, match=f"the guest's data was rejected: .*({why.replace(chr(92), chr(92) * 2)})"
    ) as caught:
        received(output, file(b"innocent"), *pieces)

    assert caught.value.code is ErrorCode.PROTOCOL
    assert not os.path.lexists(output)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"", "cut off"),
        (END, "is empty"),
        (ROOT + file(b"f"), "cut off"),
        (ROOT + file(b"f", b"x" * 5000)[:3000], "cut off within"),
        (ROOT[:300], "cut off"),
        (file(b"f") + END, "begins with f"),
        (file(b".") + file(b"f") + END, "more than the requested file"),
    ],
)
def test_a_stream_that_is_no_tree_is_refused(output: Path, stream: bytes, why: str) -> None:
    with pytest.raises(PyroError, match=why) as caught:
        receive_tree([stream], output)

    assert caught.value.code is ErrorCode.PROTOCOL
    assert not os.path.lexists(output)


def test_a_link_alone_cannot_be_exported(output: Path) -> None:
    with pytest.raises(PyroError, match="a symbolic link can't be exported") as caught:
        receive_tree([symlink(b".", b"/etc") + END], output)
    assert caught.value.code is ErrorCode.INVALID


def test_what_must_not_come_out_is_left_out_and_listed(output: Path) -> None:
    report = received(
        output,
        file(b"kept"),
        special(b"null", tarfile.CHRTYPE),
        special(b"sda", tarfile.BLKTYPE),
        special(b"pipe", tarfile.FIFOTYPE),
        directory(b"d"),
        symlink(b"d/up", b"../.."),
        symlink(b"abs\n", b"/etc/pa\x1bsswd"),
        symlink(b"in", b"kept"),
        symlink(b"chain", b"d/back/.."),
        symlink(b"d/back", b".."),
        link(b"none", b"pipe"),
    )

    assert set(report.left_out) == {
        Note("null", "a character device"),
        Note("sda", "a block device"),
        Note("pipe", "a fifo"),
        Note("none", "a hard link to pipe, which was skipped"),
        Note("d/up", "a symbolic link that leads out of the tree, to ../.."),
        Note("abs\\x0a", "a symbolic link that leads out of the tree, to /etc/pa\\x1bsswd"),
        Note("chain", "a symbolic link that leads out of the tree, to d/back/.."),
    }
    assert report.left_out_count == 7
    assert set(described(output)) == {b"kept", b"in", b"d", b"d/back"}
    assert report.entry_count == 4


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(max_entries=9), "more than 9 entries"),
        (Bounds(max_bytes=999), "with .* it is more than"),
    ],
)
def test_a_tree_beyond_the_bounds_is_refused(output: Path, bounds: Bounds, why: str) -> None:
    stream = ROOT + b"".join(file(b"%d" % number, b"x" * 100) for number in range(12)) + END

    with pytest.raises(PyroError, match=f"what the guest sends is too large: .*{why}") as caught:
        receive_tree([stream], output, bounds=bounds)

    assert caught.value.code is ErrorCode.INVALID
    assert not os.path.lexists(output)


def test_a_size_is_held_against_the_bounds_before_its_content_comes(output: Path) -> None:
    with pytest.raises(PyroError, match="with liar it is more than 16 GiB"):
        receive_tree([ROOT + tar_writer.file_header(b"liar", 0o644, 0, 1 << 60)], output)
    with pytest.raises(PyroError, match="with liar it is more than 16 GiB"):
        receive_tree([ROOT + tar_writer.sparse_header(b"liar", 0o644, 0, 1 << 60, [])], output)


def test_links_may_not_fill_the_memory(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "_MAX_HELD_BYTES", 100_000)
    links = b"".join(symlink(b"%d" % number, b"t" * 4000) for number in range(30))

    with pytest.raises(PyroError, match="too many symbolic links") as caught:
        received(output, links)

    assert caught.value.code is ErrorCode.INVALID


def test_the_lists_are_bounded_and_the_counts_are_not(output: Path) -> None:
    pipes = [special(b"pipe %d" % number, tarfile.FIFOTYPE) for number in range(150)]
    hooks = [file(b"%d.code-workspace" % number) for number in range(150)]

    report = received(output, *pipes, *hooks)

    assert (len(report.left_out), report.left_out_count) == (100, 150)
    assert (len(report.host_hooks), report.host_hook_count) == (100, 150)


def test_python_s_own_archives_are_understood(output: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind in (("./", tarfile.DIRTYPE), ("./" + "n" * 200, tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            archive.addfile(info)

    receive_tree([out.getvalue()], output)

    assert os.listdir(output) == ["n" * 200]


VALID = (
    ROOT + directory(b"d") + file(b"d/f", b"x" * 600, 0o755) + symlink(b"d/l", b"f") + link(b"h", b"d/f")
    + symlink(b"n" * 120, b"d") + tar_writer.sparse_header(b"s", 0o644, 0, 9000, [(4096, 10)]) + b"0123456789"
    + tar_writer.padding(10) + file(b".envrc") + END
)  # fmt: skip

PIECES = [b"/", b"..", b"\0\0", b"5", b"2", b"1", b"x", b"\xff\xff", b"7"]


@settings(max_examples=examples(300))
@given(st.data())
def test_no_stream_writes_anywhere_else(data: st.DataObject) -> None:
    stream = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + 2] = data.draw(st.sampled_from(PIECES))
    for at in range(0, len(stream) - 511, 512):
        block = stream[at : at + 512]
        if bytes(block[257:262]) == b"ustar":
            # What an attacker would do: the checksums are right again.
            block[148:156] = b" " * 8
            stream[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        code: ErrorCode | None = None
        try:
            receive_tree([bytes(stream)], place / "in/out")
        except PyroError as error:
            code = error.code

        assert code in {None, ErrorCode.PROTOCOL, ErrorCode.INVALID}
        assert os.listdir(place) == ["in"]
        assert os.listdir(place / "in") == ([] if code else ["out"])
        for kind, _, target in described(place / "in").values():
            assert kind != "special"
            assert kind != "link" or not target.startswith(b"/")


def test_progress_is_told(tmp_path: Path, output: Path) -> None:
    told: list[str] = []

    class Told:
        def phase(self, name: str, message: str = "") -> None:
            told.append(name + message)

        def advance(self, fraction: float | None = None, message: str = "") -> None:
            told.append(message if fraction is None else "")

    receive_tree([ROOT, file(b"a", bytes(9_000_000)), file(b"b", bytes(9_000_000)), END], output, progress=Told())

    assert told[-1].endswith(" entries, 17 MiB")


def test_without_a_finish_nothing_comes_out(output: Path) -> None:
    with TreeReceiver(output) as receiver:
        receiver.feed(ROOT + file(b"f"))
        assert [name for name in os.listdir(output.parent) if name.startswith(PREFIX)]

    assert os.listdir(output.parent) == []
