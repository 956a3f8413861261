"""What the agent promises about whole trees: streams, differences, standing still."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import ExecRequest
from pyro_mcp.agent.file_values import ContentForm, DiffBounds, DiffEntry, DiffPart, Ignored
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.trees.entries import Kind
from pyro_mcp.trees.outgoing import stream_tree
from tests.support.agents import run
from tests.support.receiving import receive_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pyro_mcp.agent import AgentSession
    from pyro_mcp.agent.file_values import TreeDiff
    from tests.contract.agent.conftest import WorkspaceGuest

    Shell = Callable[[str], bytes]

BOUNDS = DiffBounds(1000, 1 << 20, 8 << 20)


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree with something of everything, and one directory that no test changes."""
    tree = tmp_path_factory.mktemp("seed")
    make_tree(tree)
    return tree


def make_tree(tree: Path) -> None:
    for name in ("src/deep/er", "gone", "empty", "kept/below"):
        (tree / name).mkdir(parents=True)
    (tree / "src" / "main.py").write_text("print('one')\n")
    (tree / "src" / "deep" / "er" / "text").write_text("deep\n")
    (tree / "src" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "src" / "run.sh").chmod(0o755)
    (tree / "gone" / "a").write_text("a\n")
    (tree / "gone" / "b").write_bytes(b"\0\1binary")
    (tree / "kept" / "below" / "file").write_text("kept\n" * 1000)
    (tree / "link").symlink_to("src/main.py")
    with open(tree / "sparse", "wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(b"in the middle")
    os.link(tree / "src" / "main.py", tree / "hard")
    (tree / "odd \udcff\nname").write_text("odd\n")
    (tree / "large").write_bytes(bytes(range(256)) * 4096)
    (tree / "lines").write_text("".join(f"{number}\n" for number in range(50_000)))


@pytest.fixture
def files(workspace_session: AgentSession) -> GuestFiles:
    return GuestFiles(workspace_session)


@pytest.fixture
def sh(workspace_session: AgentSession) -> Callable[[str], bytes]:
    def execute(line: str) -> bytes:
        ran = run(workspace_session, line)
        assert ran.result.exit_code == 0, ran.stderr
        return ran.stdout

    return execute


def listed(root: Path) -> dict[str, object]:
    """Return what is in a directory of the host: kinds, modes, contents, links."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        what: object = None
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = (oct(state.st_mode & 0o7777), hashlib.sha256(path.read_bytes()).hexdigest(), state.st_nlink)
        else:
            what = oct(state.st_mode & 0o777)
        found[os.fspath(path.relative_to(root))] = what
    return found


def packed(files: GuestFiles, path: bytes) -> tuple[bytes, int]:
    stream = bytearray()
    count = files.pack(path, stream.extend).entry_count
    return bytes(stream), count


def chunked(data: bytes, size: int = 100_000) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def refused(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    return caught.value


def test_a_tree_comes_out_as_it_went_in(files: GuestFiles, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    make_tree(tree)
    unpacked = files.unpack(b"copy/of it", stream_tree(tree))
    stream, count = packed(files, b"copy/of it")
    report = receive_tree(chunked(stream), tmp_path / "out")
    assert listed(tmp_path / "out") == listed(tree)
    assert count == unpacked.entry_count == report.entry_count == len(listed(tree))
    assert report.left_out_count == 0
    assert unpacked.bytes_written == report.bytes_written
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 1_000_000
    assert (tmp_path / "out" / "large").stat().st_mtime_ns // 10**9 == (tree / "large").stat().st_mtime_ns // 10**9


def test_a_single_file_comes_out_too(files: GuestFiles, sh: Shell, tmp_path: Path) -> None:
    sh("mkdir -p single; seq 100000 > single/numbers")
    stream, count = packed(files, b"single/numbers")
    report = receive_tree(chunked(stream), tmp_path / "out")
    assert (count, report.kind, report.entry_count) == (1, Kind.FILE, 1)
    assert (tmp_path / "out").read_text().splitlines()[-1] == "100000"


def test_what_is_no_file_is_left_out_by_the_host_with_a_word(files: GuestFiles, sh: Shell, tmp_path: Path) -> None:
    sh("mkdir -p special; cd special; mkfifo fifo; ln -s /etc/passwd out; echo x > file; ln -s file in")
    stream, _ = packed(files, b"special")
    report = receive_tree(chunked(stream), tmp_path / "out")
    assert {note.name: note.reason for note in report.left_out} == {
        "fifo": "a fifo",
        "out": "a symbolic link that leads out of the tree, to /etc/passwd",
    }
    assert sorted(listed(tmp_path / "out")) == ["file", "in"]


def test_what_is_packed_must_be_there(files: GuestFiles, sh: Shell, tmp_path: Path) -> None:
    sh("ln -sf /etc linked")
    assert refused(lambda: packed(files, b"missing")).code is ErrorCode.NOT_FOUND
    assert refused(lambda: packed(files, b"linked/passwd")).code is ErrorCode.INVALID
    stream, _ = packed(files, b"linked")
    assert refused(lambda: receive_tree([stream], tmp_path / "out")).code is ErrorCode.INVALID


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    """Return a tar stream of members: name, type, and content or target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                archive.addfile(info)
    return buffer.getvalue()


def test_unpacking_replaces_what_it_names_and_nothing_else(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir -p into/dir; cd into; echo old > file; echo stays > dir/other; ln -s dir/other link; echo l > dir/was")
    stream = tar_of(
        ("./", tarfile.DIRTYPE, ""),
        ("file", tarfile.REGTYPE, "new"),
        ("link", tarfile.REGTYPE, "a file now"),
        ("dir/was", tarfile.SYMTYPE, "other"),
        ("implied/dir/file", tarfile.REGTYPE, "x"),
        ("hard", tarfile.LNKTYPE, "file"),
    )
    assert files.unpack(b"into", [stream]).entry_count == 5
    assert sh("cd into; cat file link dir/other dir/was implied/dir/file hard; readlink dir/was") == (
        b"newa file nowstays\nstays\nxnewother\n"
    )


@pytest.mark.parametrize(
    ("stream", "code", "words"),
    [
        (tar_of(("../out", tarfile.REGTYPE, "x")), ErrorCode.INVALID, "leads upwards"),
        (tar_of(("/out", tarfile.REGTYPE, "x")), ErrorCode.INVALID, "absolute"),
        (tar_of(("dev", tarfile.CHRTYPE, "")), ErrorCode.INVALID, "a character device"),
        (tar_of(("hard", tarfile.LNKTYPE, "../../etc/passwd")), ErrorCode.INVALID, "leads upwards"),
        (tar_of(("hard", tarfile.LNKTYPE, "leaving")), ErrorCode.INVALID, "not a regular file"),
        (tar_of(("leaving/file", tarfile.REGTYPE, "x")), ErrorCode.INVALID, "not a directory"),
        (tar_of(("inside/file", tarfile.REGTYPE, "x")), ErrorCode.INVALID, "not a directory"),
        (tar_of(("dir", tarfile.REGTYPE, "x")), ErrorCode.IS_DIRECTORY, "is a directory"),
        (tar_of(("file/below", tarfile.REGTYPE, "x")), ErrorCode.INVALID, "not a directory"),
        (tar_of(("good", tarfile.REGTYPE, "x"))[:1024], ErrorCode.INVALID, "cut off"),
        (b"not a tar stream at all" * 100, ErrorCode.INVALID, "stream"),
        (b"", ErrorCode.INVALID, "cut off"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(
    files: GuestFiles, sh: Shell, stream: bytes, code: ErrorCode, words: str
) -> None:
    sh("rm -rf bad; mkdir -p bad/dir; cd bad; echo x > file; ln -s /tmp leaving; ln -s dir inside")
    error = refused(lambda: files.unpack(b"bad", [stream]))
    assert error.code is code
    assert words in error.message
    assert sh("ls bad/dir") == b""


def test_an_error_of_whoever_gives_the_stream_goes_on(workspace: WorkspaceGuest) -> None:
    class Trouble(Exception):  # noqa: N818 - a stand-in for anything
        pass

    def chunks() -> Iterable[bytes]:
        yield bytes(512)
        raise Trouble

    with workspace.session() as session, pytest.raises(Trouble):
        GuestFiles(session).unpack(b"troubled", chunks())


def changes(diff: TreeDiff) -> dict[bytes, DiffChange]:
    return {entry.path: entry.change for entry in diff.entries}


def restore(files: GuestFiles, sh: Shell, seed: Path) -> None:
    """Make the workspace equal to its baseline again, on other inodes than before."""
    sh("find . -mindepth 1 -delete")
    files.unpack(b"", stream_tree(seed))


def test_nothing_differs_in_a_tree_that_was_made_anew(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    assert files.diff(BOUNDS).entries == ()


def test_every_change_is_told_once(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    sh(
        """
        echo "print('two')" > src/main.py; chmod 644 src/run.sh; rm -r gone; mkdir -p new/empty new/full
        echo n > new/full/file; rm link; ln -s kept link; rm sparse; mkdir sparse; touch sparse/inside
        rm -r empty; echo now a file > empty; printf 'a\\0b' > new/binary; head -c 2000000 /dev/zero > new/big
        printf '\\377\\376' > new/latin; mv src/deep src/moved; touch kept/below/file; chmod 700 kept/below
        """
    )
    diff = files.diff(BOUNDS)
    assert changes(diff) == {
        b"empty": DiffChange.TYPE_CHANGED,
        b"gone/a": DiffChange.DELETED,
        b"gone/b": DiffChange.DELETED,
        b"kept/below": DiffChange.MODIFIED,
        b"link": DiffChange.MODIFIED,
        b"new/big": DiffChange.ADDED,
        b"new/binary": DiffChange.ADDED,
        b"new/empty": DiffChange.ADDED,
        b"new/full/file": DiffChange.ADDED,
        b"new/latin": DiffChange.ADDED,
        b"sparse": DiffChange.TYPE_CHANGED,
        b"sparse/inside": DiffChange.ADDED,
        b"src/deep/er/text": DiffChange.DELETED,
        b"src/main.py": DiffChange.MODIFIED,
        b"hard": DiffChange.MODIFIED,
        b"src/moved/er/text": DiffChange.ADDED,
        b"src/run.sh": DiffChange.MODIFIED,
    }
    assert (diff.total, diff.truncated) == (17, False)
    found = {entry.path: entry for entry in diff.entries}
    assert texts(found[b"src/main.py"]) == (b"print('one')\n", b"print('two')\n")
    run_sh = found[b"src/run.sh"]
    assert (run_sh.old and run_sh.old.mode, run_sh.new and run_sh.new.mode) == (0o755, 0o644)
    assert (run_sh.form, run_sh.parts) == (ContentForm.SAME, ())
    moved = found[b"src/moved/er/text"]
    assert (moved.form, moved.moved_from) == (ContentForm.MOVED, b"src/deep/er/text")
    assert (found[b"src/deep/er/text"].form, found[b"src/deep/er/text"].moved_from) == (ContentForm.MOVED, None)
    link = found[b"link"]
    assert (link.old and link.old.link_target, link.new and link.new.link_target) == (b"src/main.py", b"kept")
    assert texts(found[b"new/full/file"]) == (b"", b"n\n")
    assert texts(found[b"new/latin"]) == (b"", b"\377\376")
    binary = {path for path, entry in found.items() if entry.form is ContentForm.NOT_TEXT}
    assert binary == {b"new/binary", b"new/big", b"gone/b", b"sparse"}
    gone = found[b"gone/a"]
    assert gone.old is not None
    assert (texts(gone), gone.old.kind) == ((b"a\n", b""), FileKind.FILE)


def texts(entry: DiffEntry) -> tuple[bytes, bytes]:
    """Return what was sent of both files."""
    assert entry.form in {ContentForm.WHOLE, ContentForm.BINARY}
    return entry.parts[0].old, entry.parts[0].new


def test_a_diff_is_bounded_and_what_was_changed_comes_before_what_was_added(
    files: GuestFiles, sh: Shell, seed: Path
) -> None:
    restore(files, sh, seed)
    sh("mkdir many; for n in 1 2 3 4 5 6 7 8 9; do echo $n$n$n > many/$n; done; echo changed > src/run.sh")
    diff = files.diff(DiffBounds(5, 100, 24))
    assert [entry.path for entry in diff.entries] == [b"many/1", b"many/2", b"many/3", b"many/4", b"src/run.sh"]
    assert (diff.total, diff.truncated) == (10, True)
    forms = [entry.form for entry in diff.entries]
    assert forms == [ContentForm.WHOLE, *[ContentForm.NO_ROOM] * 3, ContentForm.WHOLE]
    small = files.diff(DiffBounds(100, 3, 1000))
    assert {entry.form for entry in small.entries} == {ContentForm.NO_ROOM}


def test_binary_files_are_sent_when_they_are_asked_for(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    sh("printf 'a\\0b' > src/run.sh; printf 'c\\0d' > binary")
    diff = files.diff(BOUNDS, include_binary=True)
    assert [entry.form for entry in diff.entries] == [ContentForm.BINARY] * 2
    assert [texts(entry) for entry in diff.entries] == [(b"", b"c\0d"), (b"#!/bin/sh\n", b"a\0b")]


def test_of_a_large_text_the_parts_that_differ_are_sent(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    sh("sed -i 1000s/.*/changed/ lines; seq 50000 > longer")
    changed, added = files.diff(BOUNDS).entries
    assert (changed.form, added.form) == (ContentForm.PARTS, ContentForm.WHOLE)
    lines = [b"%d\n" % number for number in range(989, 1010)]
    expected = [b"".join(lines), b"".join([*lines[:10], b"changed\n", *lines[11:]])]
    assert changed.parts == (DiffPart(990, 990, *expected),)
    assert [entry.path for entry in (changed, added)] == [b"lines", b"longer"]


def ignored(diff: TreeDiff) -> dict[bytes, bool]:
    return names_of(diff.ignored)


def names_of(found: Ignored) -> dict[bytes, bool]:
    assert found.count == len(found.names)
    assert found.by_one_count == sum(each.by_one_only for each in found.names)
    return {each.path: each.by_one_only for each in found.names}


def test_what_was_added_and_is_ignored_is_left_out_and_told(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    sh(
        """
        printf '*.log\n/out/\n!keep.log\nkept/\nsrc/*.[ps]*\n' > .gitignore
        mkdir -p out/deep .git/refs src/cache nested/.git
        echo 1 > out/deep/file; echo 1 > a.log; echo 1 > keep.log; echo 1 > kept/new; echo 2 > src/run.sh
        echo '*' > src/cache/.gitignore; echo 1 > src/cache/x; echo 1 > nested/b.log; echo 1 > src/new.py
        """
    )
    diff = files.diff(BOUNDS)
    assert {entry.path: entry.is_ignored for entry in diff.entries} == {
        b".gitignore": False,
        b"keep.log": False,
        b"nested/b.log": False,
        b"src/run.sh": True,
    }
    names = [b".git/", b"a.log", b"kept/new", b"nested/.git/", b"out/", b"src/cache/", b"src/new.py"]
    assert ignored(diff) == {name: not name.endswith(b".git/") for name in names}
    packed = bytearray()
    assert names_of(files.pack(b"", packed.extend, include_ignored=False).ignored) == ignored(diff)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        sent = {name.removeprefix("./") for name in archive.getnames()}
    assert {"keep.log", "kept/below/file", "nested/b.log", "src/run.sh"} <= sent
    assert not {"out", ".git", "a.log", "kept/new", "src/cache", "src/new.py"} & sent
    every = {entry.path for entry in files.diff(BOUNDS, include_ignored=True).entries}
    assert {b"out/deep/file", b"a.log", b"kept/new", b".git/refs", b"src/cache/x", b"nested/.git"} <= every


def test_what_is_named_by_its_path_is_there_although_it_is_ignored(files: GuestFiles, sh: Shell, seed: Path) -> None:
    restore(files, sh, seed)
    sh("printf 'out\n*.log\n' > .gitignore; mkdir -p out/in src/sub; echo 1 | tee out/in/f > src/sub/a.log; rm link")
    for path, expected in {
        b"out": [b"out/in/f"],
        b"out/in": [b"out/in/f"],
        b"out/in/f": [b"out/in/f"],
        b"src": [],
        b"src/sub/a.log": [b"src/sub/a.log"],
        b"link": [b"link"],
        b".gitignore": [b".gitignore"],
        b"gone/a": [],
    }.items():
        assert [entry.path for entry in files.diff(BOUNDS, path).entries] == expected
    assert ignored(files.diff(BOUNDS, b"src")) == {b"src/sub/": True}
    assert refused(lambda: files.diff(BOUNDS, b"nowhere")).code is ErrorCode.NOT_FOUND


def test_a_workspace_stands_still_while_it_is_held(workspace: WorkspaceGuest, files: GuestFiles, sh: Shell) -> None:
    sh("rm -f written; echo 1 > before")
    began, output = threading.Event(), bytearray()

    def take(_stream: object, data: bytes) -> None:
        output.extend(data)
        began.set()

    def write() -> None:
        with workspace.session() as session:
            line = "echo began; echo 2 > written; cat written"
            session.exec(ExecRequest(("/bin/sh", "-c", line), timeout_s=30), on_output=take)

    writer = threading.Thread(target=write)
    with workspace.session() as looking:
        with files.frozen():
            writer.start()
            assert began.wait(20)
            found = GuestFiles(looking)
            assert found.read(b"before", max_bytes=10).data == b"1\n"
            if workspace.is_machine:
                assert found.fetch([b"written"], max_file_bytes=10) == {}
        writer.join(20)
    assert output == b"began\n2\n"


def test_what_fails_while_it_is_held_lets_it_go(workspace: WorkspaceGuest, files: GuestFiles, sh: Shell) -> None:
    with pytest.raises(ZeroDivisionError), files.frozen():
        raise ZeroDivisionError
    assert sh("echo on > on; cat on") == b"on\n"


def test_only_one_holds_it(workspace: WorkspaceGuest, files: GuestFiles) -> None:
    with workspace.session() as other, files.frozen():
        error = refused(lambda: GuestFiles(other).frozen().__enter__())
        assert error.code is ErrorCode.CONFLICT


def test_it_goes_on_when_the_host_goes_away(workspace: WorkspaceGuest, sh: Shell) -> None:
    leaving = workspace.session()
    holding = GuestFiles(leaving).frozen()
    holding.__enter__()
    leaving.close()

    def writes() -> bool:
        with workspace.session() as session:
            return run(session, "echo x > x", timeout_s=2).result.exit_code == 0

    assert wait_until(writes, timeout_s=10, what="the workspace to go on")
    assert refused(lambda: holding.__exit__(None, None, None)).code is ErrorCode.GUEST_LOST


def test_the_stream_of_a_real_checkout_is_a_tar_that_tar_reads(
    files: GuestFiles, tmp_path: Path, sh: Shell, seed: Path
) -> None:
    restore(files, sh, seed)
    stream, _ = packed(files, b"")
    (tmp_path / "stream.tar").write_bytes(stream)
    (tmp_path / "out").mkdir()
    process.run(["tar", "-xf", tmp_path / "stream.tar", "-C", tmp_path / "out"], timeout_s=30)
    assert listed(tmp_path / "out") == listed(seed)
    shutil.rmtree(tmp_path / "out")
