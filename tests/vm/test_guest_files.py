"""Files at any path of a real guest, as bytes, and copies in and out."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files import anywhere
from pyro_mcp.workspace.files.copying import copy_in, copy_out

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = pytest.mark.vm
MIB = 1024 * 1024


class Guest:
    """A workspace, its files and its commands."""

    def __init__(self, workspace_id: str) -> None:
        self.id = workspace_id

    def sh(self, command: str) -> str:
        ran = Pyro().exec_workspace(self.id, command=command)
        assert ran.exit_code == 0, ran.stderr
        return ran.stdout

    def read(self, path: str, max_bytes: int = anywhere.DEFAULT_MAX_BYTES) -> bytes:
        with engine() as using:
            return anywhere.read_bytes(using, self.id, path, max_bytes=max_bytes)

    def write(self, path: str, data: bytes, mode: int | None = None) -> None:
        with engine() as using:
            anywhere.write_bytes(using, self.id, path, data, mode=mode)


@pytest.fixture(scope="module")
def guest() -> Generator[Guest]:
    made = Pyro().create_workspace("debian:12", secrets=[{"name": "TOKEN", "value": "a-long-secret"}]).workspace_id
    yield Guest(made)
    Pyro().delete_workspace(made)


def engine() -> Engine:
    return Engine(Paths.from_environment())


def refused(act: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize("path", ["a/b.bin", "/tmp/new/x", "/etc/made", "~/.config/y", "/dev/shm/z", "/run/w"])
def test_a_file_is_written_and_read_wherever_it_is(guest: Guest, path: str) -> None:
    data = bytes(range(256)) * 10
    guest.write(path, data, mode=0o640)
    assert guest.read(path) == data
    shown = path if path.startswith(("/", "~")) else f"/workspace/{path}"
    assert guest.sh(f"stat -c '%a %s %U' {shown}") == "640 2560 root\n"
    guest.write(path, b"")
    assert guest.sh(f"stat -c '%a %s' {shown}") == "640 0\n"


def test_a_hundred_megabytes_go_in_and_out(guest: Guest) -> None:
    data = os.urandom(MIB) * 100
    guest.write("/var/tmp/large", data)
    assert guest.read("/var/tmp/large") == data
    assert guest.sh("wc -c < /var/tmp/large; rm /var/tmp/large") == f"{100 * MIB}\n"


def test_a_refusal_says_what_is_in_the_way(guest: Guest) -> None:
    guest.sh("mkdir -p /tmp/dir && echo four > /tmp/four && chattr +i /tmp/four 2>&1 || true")
    assert refused(lambda: guest.read("/tmp/none")).code is ErrorCode.NOT_FOUND
    assert refused(lambda: guest.read("/tmp/dir")).code is ErrorCode.IS_DIRECTORY
    assert refused(lambda: guest.write("/tmp/dir", b"")).code is ErrorCode.IS_DIRECTORY
    assert refused(lambda: guest.write("/proc/x", b"")).code in {ErrorCode.PERMISSION, ErrorCode.NOT_FOUND}
    assert refused(lambda: guest.write("/sys/x", b"")).code is ErrorCode.PERMISSION
    too_large = refused(lambda: guest.read("/tmp/four", max_bytes=4))
    assert too_large.code is ErrorCode.TOO_LARGE
    assert too_large.details["size_bytes"] == 5
    assert "/tmp/none" in refused(lambda: guest.read("/tmp/none")).message
    guest.sh("chattr -i /tmp/four || true")


def test_links_are_followed_as_the_guest_means_them(guest: Guest) -> None:
    guest.sh("ln -sfn /etc /workspace/config; echo one > /etc/one; ln -sfn ../etc/two /tmp/two")
    assert guest.read("config/one") == b"one\n"
    guest.write("/tmp/two", b"2")
    assert guest.sh("cat /etc/two") == "2"


def test_directories_are_made_listed_moved_and_removed(guest: Guest) -> None:
    here = guest.id
    guest.write("/opt/a/b/file", b"content")
    with engine() as using:
        anywhere.make_directory(using, here, "/opt/a/b/c")
        listed = anywhere.list_anywhere(using, here, "/opt/a", recursive=True)
        assert [(each.path, each.kind) for each in listed.entries] == [
            (b"opt/a/b", FileKind.DIRECTORY), (b"opt/a/b/c", FileKind.DIRECTORY), (b"opt/a/b/file", FileKind.FILE),
        ]  # fmt: skip
        anywhere.move(using, here, "/opt/a/b", "/opt/c/d")
        # Another disk.
        anywhere.move(using, here, "/opt/c", "moved")
        assert guest.sh("cat moved/d/file; ls /opt") == "contenta\n"
        found = anywhere.stat_anywhere(using, here, "moved/d/file").entries[0]
        assert (found.kind, found.size_bytes, found.mode) == (FileKind.FILE, 7, 0o644)
        assert anywhere.stat_anywhere(using, here, "/").entries[0].kind is FileKind.DIRECTORY
        assert refused(lambda: anywhere.remove(using, here, "moved")).code is ErrorCode.IS_DIRECTORY
        anywhere.remove(using, here, "moved", recursive=True)
        anywhere.remove(using, here, "/opt/a", recursive=True)
        assert refused(lambda: anywhere.stat_anywhere(using, here, "moved")).code is ErrorCode.NOT_FOUND


def test_a_link_is_looked_at_itself_if_it_is_not_followed(guest: Guest) -> None:
    guest.sh("ln -sfn /nowhere /tmp/dangling")
    with engine() as using:
        found = anywhere.stat_anywhere(using, guest.id, "/tmp/dangling", follow=False).entries[0]
    assert (found.kind, found.link_target) == (FileKind.LINK, b"/nowhere")


def test_the_values_of_secrets_do_not_come_out(guest: Guest) -> None:
    assert guest.read("/run/pyro-secrets/TOKEN") == b"[REDACTED]"


def test_trees_and_files_are_copied_in_and_out(guest: Guest, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "data.bin").write_bytes(bytes(range(256)))
    (tree / "archive.tar").write_bytes(b"no archive, and not unpacked")
    (tree / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (tree / "run.sh").chmod(0o755)
    with engine() as using:
        assert copy_in(using, guest.id, tree, "/srv/made").path == "/srv/made"
        assert copy_in(using, guest.id, tree, "/srv").path == "/srv/tree"
        assert copy_in(using, guest.id, tree / "archive.tar", "~").path == "/root/archive.tar"
        assert copy_in(using, guest.id, tree / "run.sh", "bin/started").path == "/workspace/bin/started"
        assert guest.sh("stat -c %a /workspace/bin/started; cat ~/archive.tar; ls /srv/made/sub") == (
            "755\nno archive, and not unpackeddata.bin\n"
        )
        out = tmp_path / "out"
        assert copy_out(using, guest.id, "/srv/tree", out).report.entry_count == 4
        assert (out / "sub" / "data.bin").read_bytes() == bytes(range(256))
        assert stat.S_IMODE((out / "run.sh").stat().st_mode) == 0o755
        copy_out(using, guest.id, "/srv/tree/sub/data.bin", out)
        assert (out / "data.bin").read_bytes() == bytes(range(256))
        again = refused(lambda: copy_out(using, guest.id, "/srv/tree/sub/data.bin", out))
        assert again.code is ErrorCode.CONFLICT


def test_a_command_may_run_in_the_home_directory(guest: Guest) -> None:
    assert Pyro().exec_workspace(guest.id, command="pwd", cwd="~", user="user").stdout == "/home/user\n"
