"""What the agent promises about single files: the same on a host and in a guest."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent.file_values import Delete, Write
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import FileKind
from tests.support.agents import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import WorkspaceGuest

    Shell = Callable[[str], bytes]

ODD = b"odd \xff name\nwith lines"


@pytest.fixture
def files(workspace_session: AgentSession) -> GuestFiles:
    return GuestFiles(workspace_session)


@pytest.fixture
def sh(workspace_session: AgentSession) -> Shell:
    """Run a line in an empty directory of the test's own, whose name it is given too."""

    def execute(line: str) -> bytes:
        ran = run(workspace_session, line)
        assert ran.result.exit_code == 0, ran.stderr
        return ran.stdout

    execute("rm -rf ./* ./.[a-z]*")
    return execute


def refused(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    return caught.value


def test_a_file_that_was_written_is_read_back(files: GuestFiles, sh: Shell) -> None:
    written = files.write(b"new/dir/file.txt", b"one\ntwo\n")
    assert (written.size_bytes, written.mode, written.created) == (8, 0o644, True)
    found = files.read(b"new/dir/file.txt", max_bytes=100)
    assert (found.data, found.size_bytes, found.mode) == (b"one\ntwo\n", 8, 0o644)
    assert sh("cat new/dir/file.txt; ls -A . new/dir") == b"one\ntwo\n.:\nnew\n\nnew/dir:\nfile.txt\n"


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000, 5_000_000])
def test_files_of_every_size_come_and_go_whole(files: GuestFiles, sh: Shell, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    files.write(b"file", data)
    assert files.read(b"file", max_bytes=size).data == data
    assert int(sh("wc -c < file")) == size


def test_a_write_keeps_the_mode_and_replaces_at_once(files: GuestFiles, sh: Shell) -> None:
    sh("echo old > run.sh; chmod 750 run.sh; ln run.sh other")
    written = files.write(b"run.sh", b"new\n")
    assert (written.mode, written.created) == (0o750, False)
    assert sh("stat -c %a run.sh; cat other") == b"750\nold\n"


def test_a_read_says_how_large_the_file_is(files: GuestFiles, sh: Shell) -> None:
    sh("seq 100000 > numbers")
    found = files.read(b"numbers", max_bytes=10)
    assert (found.data, found.size_bytes) == (b"1\n2\n3\n4\n5\n", 588895)
    assert files.read(b"numbers", max_bytes=0).data == b""


def test_names_that_are_no_text_are_names(files: GuestFiles, sh: Shell) -> None:
    files.write(ODD, b"x")
    assert files.read(ODD, max_bytes=10).data == b"x"
    assert [entry.path for entry in files.list(b"", recursive=False, limit=10).entries] == [ODD]
    assert files.fetch([ODD], max_file_bytes=10)[ODD].data == b"x"


def test_links_inside_are_followed(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir -p a/b; echo deep > a/b/file; ln -s a/b short; ln -s ../a/b/file a/up; ln -s nothing/yet dangling")
    assert files.read(b"short/file", max_bytes=10).data == b"deep\n"
    assert files.read(b"a/up", max_bytes=10).data == b"deep\n"
    assert files.write(b"a/up", b"new\n").created is False
    assert sh("cat a/b/file; readlink a/up") == b"new\n../a/b/file\n"
    assert files.write(b"dangling", b"made\n").created is True
    assert sh("cat nothing/yet; readlink dangling") == b"made\nnothing/yet\n"
    assert [each.path for each in files.list(b"short", recursive=False, limit=9).entries] == [b"short/file"]


def test_absolute_links_into_the_workspace_are_followed_in_a_guest(
    workspace: WorkspaceGuest, files: GuestFiles, sh: Shell
) -> None:
    sh("mkdir a; echo deep > a/file; ln -s /workspace/a abs; ln -s /workspace/a/file abs-file")
    reads: list[Callable[[], object]] = [
        lambda: files.read(b"abs/file", max_bytes=10).data,
        lambda: files.read(b"abs-file", max_bytes=10).data,
    ]
    if workspace.is_machine:
        assert [read() for read in reads] == [b"deep\n", b"deep\n"]
        files.write(b"abs-file", b"new\n")
        files.write(b"abs/other", b"other\n")
        assert sh("cat a/file a/other; test -L abs-file") == b"new\nother\n"
    else:
        assert {refused(read).code for read in reads} == {ErrorCode.INVALID}


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "../../etc/passwd", "inner/../../outside", "/proc/self/root/etc/passwd"]
)
def test_no_link_leads_out(files: GuestFiles, sh: Shell, target: str) -> None:
    sh(f"mkdir inner; ln -s {target} link; ln -s {target.rpartition('/')[0] or '/'} parent; ln -s link second")
    for call in (
        lambda: files.read(b"link", max_bytes=10),
        lambda: files.read(b"second", max_bytes=10),
        lambda: files.write(b"link", b"x"),
        lambda: files.write(b"second", b"x"),
        lambda: files.list(b"link", recursive=True, limit=10),
        lambda: files.unpack(b"link", [bytes(1024)]),
    ):
        error = refused(call)
        assert error.code in {ErrorCode.INVALID, ErrorCode.NOT_FOUND}
        assert "/workspace" in error.message
    assert files.fetch([b"link"], max_file_bytes=10)[b"link"].kind is FileKind.LINK
    assert files.fetch([b"parent/passwd", b"parent/outside"], max_file_bytes=10) == {}


def test_errors_say_which_path_and_why(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir dir; mkfifo fifo; echo x > file; ln -s circle circle")
    cases: dict[str, Callable[[], object]] = {
        "/workspace/missing does not exist": lambda: files.read(b"missing", max_bytes=1),
        "/workspace/dir is a directory": lambda: files.read(b"dir", max_bytes=1),
        "/workspace/fifo is not a regular file": lambda: files.read(b"fifo", max_bytes=1),
        "/workspace/file/below is not a directory": lambda: files.read(b"file/below", max_bytes=1),
        "/workspace/circle is not a regular file": lambda: files.read(b"circle", max_bytes=1),
        "/workspace is a directory": lambda: files.read(b"", max_bytes=1),
    }
    for message, call in cases.items():
        assert refused(call).message == message
    assert refused(lambda: files.write(b"dir", b"")).message == "/workspace/dir is a directory"
    assert refused(lambda: files.write(b"fifo", b"")).message == "/workspace/fifo is not a regular file"
    assert refused(lambda: files.write(b"", b"")).message == "/workspace is a directory"
    assert refused(lambda: files.write(b"file/x", b"")).message == "/workspace/file is not a directory"
    assert refused(lambda: files.list(b"missing", recursive=False, limit=1)).code is ErrorCode.NOT_FOUND
    assert refused(lambda: files.write(b"n" * 300, b"")).code is ErrorCode.INVALID


def test_a_session_goes_on_after_an_error(files: GuestFiles) -> None:
    assert refused(lambda: files.read(b"missing", max_bytes=1)).code is ErrorCode.NOT_FOUND
    assert files.write(b"there", b"x").size_bytes == 1


def test_a_listing_is_in_the_order_of_paths(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir -p a/b a.d empty; touch a/x a/b/y a.c a-b z; ln -s a/x link; mkfifo fifo; chmod 640 z; printf 12345 > z")
    listing = files.list(b"", recursive=True, limit=100)
    paths = [entry.path for entry in listing.entries]
    assert paths == sorted(paths)
    assert set(paths) == {
        b"a", b"a-b", b"a.c", b"a.d", b"a/b", b"a/b/y", b"a/x", b"empty", b"fifo", b"link", b"z",
    }  # fmt: skip
    found = {entry.path: entry for entry in listing.entries}
    assert (found[b"a/b"].kind, found[b"fifo"].kind) == (FileKind.DIRECTORY, FileKind.OTHER)
    assert (found[b"link"].kind, found[b"link"].link_target) == (FileKind.LINK, b"a/x")
    assert (found[b"z"].size_bytes, found[b"z"].mode) == (5, 0o640)
    assert found[b"z"].mtime_ns == int(sh("stat -c %Y z")) * 10**9 + found[b"z"].mtime_ns % 10**9
    assert not listing.truncated
    flat = files.list(b"a", recursive=False, limit=100)
    assert [entry.path for entry in flat.entries] == [b"a/b", b"a/x"]
    assert [entry.path for entry in files.list(b"z", recursive=True, limit=5).entries] == [b"z"]


def test_a_listing_that_is_too_long_has_the_first_entries(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir d; for n in 1 2 3 4 5 6 7 8 9; do mkdir d/$n; touch d/$n/f; done")
    whole = files.list(b"d", recursive=True, limit=18)
    assert (len(whole.entries), whole.truncated) == (18, False)
    for limit in (1, 5, 17):
        part = files.list(b"d", recursive=True, limit=limit)
        assert (part.entries, part.truncated) == (whole.entries[:limit], True)


def test_fetch_says_what_stands_at_each_path(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir dir; echo text > file; chmod 755 file; ln -s dir link; ln -s missing gone; mkfifo fifo; touch dir/in")
    names = [b"dir", b"file", b"link", b"gone", b"fifo", b"missing", b"link/in", b"file/in", b"dir/in"]
    found = files.fetch(names, max_file_bytes=3)
    assert {path: each.kind for path, each in found.items()} == {
        b"dir": FileKind.DIRECTORY,
        b"file": FileKind.FILE,
        b"link": FileKind.LINK,
        b"gone": FileKind.LINK,
        b"fifo": FileKind.OTHER,
        b"dir/in": FileKind.FILE,
    }
    assert (found[b"file"].data, found[b"file"].size_bytes, found[b"file"].mode) == (b"tex", 5, 0o755)
    assert found[b"dir/in"].data == b""
    assert found[b"dir"].data is None


def test_changes_are_made_all(files: GuestFiles, sh: Shell) -> None:
    sh("mkdir d; echo 1 > d/old; echo 2 > gone; chmod 600 d/old")
    changes = [
        Delete(b"gone"),
        Write(b"d/old", b"new\n", 0o755, created=False),
        Write(b"d/e/f/new", b"", 0o644, created=True),
        Write(b"top", b"x" * 200_000, 0o600, created=True),
    ]
    files.apply(changes)
    assert sh("cat d/old; stat -c '%a %s' d/old d/e/f/new top; ls -A") == (b"new\n755 4\n644 0\n600 200000\nd\ntop\n")


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Write(b"there", b"", 0o644, created=True), ErrorCode.CONFLICT),
        (Write(b"missing", b"", 0o644, created=False), ErrorCode.NOT_FOUND),
        (Write(b"dir", b"", 0o644, created=False), ErrorCode.IS_DIRECTORY),
        (Write(b"link/x", b"", 0o644, created=True), ErrorCode.INVALID),
        (Write(b"there/x", b"", 0o644, created=True), ErrorCode.INVALID),
        (Delete(b"missing"), ErrorCode.NOT_FOUND),
        (Delete(b"dir"), ErrorCode.IS_DIRECTORY),
        (Delete(b"link/x"), ErrorCode.INVALID),
    ],
)
def test_or_none_is_made(files: GuestFiles, sh: Shell, last: Write | Delete, code: ErrorCode) -> None:
    sh("mkdir dir; touch dir/x; echo 1 > there; echo 2 > first; echo 3 > second; ln -s dir link; chmod 751 first")
    before = sh("ls -AlR --time-style=+%s.%N; cat there first second")
    first = [
        Write(b"first", b"changed", 0o644, created=False),
        Delete(b"second"),
        Write(b"new/dir/file", b"made", 0o644, created=True),
    ]
    assert refused(lambda: files.apply([*first, last])).code is code
    after = sh("ls -AlR --time-style=+%s.%N; cat there first second")
    # The root's own time and that of what was exchanged and back may be others.
    strip = [line for line in after.splitlines() if not line.startswith(b"total")]
    assert len(strip) == len([line for line in before.splitlines() if not line.startswith(b"total")])
    assert sh("ls -A; cat there first second; stat -c %a first") == (b"dir\nfirst\nlink\nsecond\nthere\n1\n2\n3\n751\n")


def test_usage_grows_with_what_is_written(files: GuestFiles, sh: Shell) -> None:
    def grows() -> bool:
        before = files.usage()
        sh("head -c 3000000 /dev/urandom > big$$; sync")
        after = files.usage()
        assert 0 < after.free_bytes <= after.total_bytes
        return after.used_bytes >= before.used_bytes + 3_000_000

    # On a host, others write to the same disk and remove what is theirs.
    wait_until(grows, timeout_s=30, what="a moment in which nobody else removes files")
    assert errno.ENOSPC  # what a full disk says is told elsewhere


def test_what_the_agent_does_can_be_done_while_a_command_runs(workspace: WorkspaceGuest, files: GuestFiles) -> None:
    with workspace.session() as other:
        seen: list[bytes] = []

        def take(_stream: object, _data: bytes) -> None:
            if not seen:
                files.write(b"go", b"on")
                seen.append(files.read(b"go", max_bytes=10).data)

        ran = run_line(other, "rm -f go; echo ready; while ! test -e go; do :; done; cat go", take)
    assert seen == [b"on"]
    assert ran == 0


def run_line(session: AgentSession, line: str, on_output: Callable[[object, bytes], None]) -> int:
    from pyro_mcp.agent import ExecRequest

    return session.exec(ExecRequest(("/bin/sh", "-c", line), timeout_s=30), on_output=on_output).exit_code
