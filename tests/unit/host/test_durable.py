"""What is written is there whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import atomic_write, fsync_dir, remove_tree, sparse_copy, staged_dir, sweep_staged
from tests.support.python import python_that_says_ready, run_python
from tests.support.thorough import examples

if TYPE_CHECKING:
    from pathlib import Path

WRITE = """
import sys
from pathlib import Path
from pyro_mcp.host import process
from pyro_mcp.host.durable import atomic_write
atomic_write(Path(sys.argv[1]), b"new" * 1000)
"""
STAGE = """
import sys
from pathlib import Path
from pyro_mcp.host import process
from pyro_mcp.host.durable import staged_dir
root = Path(sys.argv[1])
with staged_dir(root / "tmp", root / "env", replaces=True) as staged:
    (staged / "base.img").write_text("new")
"""
REMOVE = """
import sys
from pathlib import Path
from pyro_mcp.host.durable import remove_tree
remove_tree(Path(sys.argv[1]))
"""
WRITE_POINTS = ["atomic_write.before_sync", "atomic_write.before_rename", "atomic_write.before_dir_sync"]
STAGE_POINTS = ["staged_dir.before_rename", "staged_dir.between_renames", "staged_dir.before_dir_sync"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class TestAtomicWrite:
    def test_the_file_holds_the_data_with_the_mode_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            atomic_write(tmp_path / "a", b"data", mode=0o644)
        finally:
            os.umask(before)
        assert (tmp_path / "a").read_bytes() == b"data"
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
        assert names_in(tmp_path) == ["a"]

    def test_a_file_is_private_unless_asked_otherwise(self, tmp_path: Path) -> None:
        atomic_write(tmp_path / "a", b"")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600

    @pytest.mark.parametrize("point", WRITE_POINTS)
    def test_killed_at_any_step_it_leaves_the_old_or_the_new_content(self, tmp_path: Path, point: str) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        assert run_python(WRITE, str(path), env={"PYRO_FAULT_POINT": point}).returncode == -signal.SIGKILL
        assert path.read_bytes() == (b"new" * 1000 if point.endswith("dir_sync") else b"old")

    @pytest.mark.parametrize("point", WRITE_POINTS)
    def test_after_a_kill_the_same_write_works_and_takes_the_remains_along(self, tmp_path: Path, point: str) -> None:
        run_python(WRITE, str(tmp_path / "a"), env={"PYRO_FAULT_POINT": point})
        assert run_python(WRITE, str(tmp_path / "a")).returncode == 0
        assert names_in(tmp_path) == ["a"]

    def test_a_full_disk_leaves_the_old_content_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").write_bytes(b"old")
        monkeypatch.setenv("PYRO_FAULT_POINT", "atomic_write.before_sync:no_space")
        with pytest.raises(PyroError, match=r"could not write .*/a: No space left on device") as caught:
            atomic_write(tmp_path / "a", b"new")
        assert caught.value.code is ErrorCode.NO_SPACE
        assert caught.value.hint
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names_in(tmp_path) == ["a"]

    def test_many_writers_leave_one_whole_content(self, tmp_path: Path) -> None:
        code = """
import sys
from pathlib import Path
from pyro_mcp.host import process
from pyro_mcp.host.durable import atomic_write
print("ready", flush=True)
for _ in range(30):
    atomic_write(Path(sys.argv[1]), sys.argv[2].encode() * 5000)
"""
        path = tmp_path / "a"
        with (
            python_that_says_ready(code, str(path), "x") as first,
            python_that_says_ready(code, str(path), "y") as second,
        ):
            assert (first.wait(60), second.wait(60)) == (0, 0)
        assert path.read_bytes() in {b"x" * 5000, b"y" * 5000}
        assert names_in(tmp_path) == ["a"]

    def test_a_link_planted_in_place_of_the_staging_file_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("precious")
        (tmp_path / ".a.new").symlink_to(tmp_path / "victim")
        with pytest.raises(PyroError, match="could not write"):
            atomic_write(tmp_path / "a", b"data")
        assert (tmp_path / "victim").read_text() == "precious"


class TestStagedDirectory:
    def test_it_appears_under_its_name_only_when_the_block_has_succeeded(self, root: Path) -> None:
        with staged_dir(root / "tmp", root / "env") as staged:
            (staged / "base.img").write_text("new")
            assert not (root / "env").exists()
        assert (root / "env" / "base.img").read_text() == "new"
        assert names_in(root / "tmp") == []

    def test_nothing_is_left_when_the_block_fails(self, root: Path) -> None:
        def fill(staged: Path) -> None:
            (staged / "deep").mkdir()
            (staged / "deep" / "file").write_text("half")
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"), staged_dir(root / "tmp", root / "env") as staged:
            fill(staged)
        assert names_in(root) == ["tmp"]
        assert names_in(root / "tmp") == []

    def test_what_somebody_else_published_first_stays(self, root: Path) -> None:
        with staged_dir(root / "tmp", root / "env") as staged:
            (staged / "who").write_text("late")
            (root / "env").mkdir()
            (root / "env" / "who").write_text("first")
        assert (root / "env" / "who").read_text() == "first"
        assert names_in(root / "tmp") == []

    def test_a_broken_one_is_replaced_when_asked(self, root: Path) -> None:
        (root / "env").mkdir()
        (root / "env" / "base.img").write_text("broken")
        with staged_dir(root / "tmp", root / "env", replaces=True) as staged:
            (staged / "base.img").write_text("whole")
        assert (root / "env" / "base.img").read_text() == "whole"
        assert names_in(root / "tmp") == []

    @pytest.mark.parametrize("point", STAGE_POINTS)
    def test_killed_at_any_step_it_shows_the_old_the_new_or_nothing(self, root: Path, point: str) -> None:
        (root / "env").mkdir()
        (root / "env" / "base.img").write_text("old")
        assert run_python(STAGE, str(root), env={"PYRO_FAULT_POINT": point}).returncode == -signal.SIGKILL
        expected = {STAGE_POINTS[0]: "old", STAGE_POINTS[1]: None, STAGE_POINTS[2]: "new"}[point]
        found = (root / "env" / "base.img").read_text() if (root / "env").exists() else None
        assert found == expected
        sweep_staged(root / "tmp")
        assert names_in(root / "tmp") == []
        assert run_python(STAGE, str(root)).returncode == 0
        assert (root / "env" / "base.img").read_text() == "new"

    def test_a_full_disk_while_publishing_is_named_and_leaves_nothing(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYRO_FAULT_POINT", "staged_dir.before_rename:no_space")
        with pytest.raises(PyroError, match="could not create") as caught, staged_dir(root / "tmp", root / "env"):
            pass
        assert caught.value.code is ErrorCode.NO_SPACE
        assert names_in(root / "tmp") == []

    def test_a_sweep_takes_what_the_dead_left_and_spares_the_living(self, root: Path) -> None:
        (root / "tmp" / "dead").mkdir()
        (root / "tmp" / "dead" / "disk").write_text("half")
        (root / "tmp" / "file").write_text("half")
        with staged_dir(root / "tmp", root / "env") as staged:
            assert sweep_staged(root / "tmp") == 2
            assert names_in(root / "tmp") == [staged.name]
            (staged / "base.img").write_text("whole")
        assert (root / "env" / "base.img").read_text() == "whole"

    def test_a_sweep_of_what_was_never_made_finds_nothing(self, tmp_path: Path) -> None:
        assert sweep_staged(tmp_path / "none") == 0


class TestRemoval:
    def test_a_tree_goes_with_its_closed_directories(self, tmp_path: Path) -> None:
        (tmp_path / "tree" / "closed").mkdir(parents=True)
        (tmp_path / "tree" / "closed" / "file").write_text("")
        (tmp_path / "tree" / "closed").chmod(0)
        # Root may enter any directory, unless it has given up the capability to.
        bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        process.run([*bound, sys.executable, "-c", REMOVE, str(tmp_path / "tree")], timeout_s=30)
        assert names_in(tmp_path) == []

    def test_a_tree_deeper_than_the_longest_path_goes(self, tmp_path: Path) -> None:
        name = "d" * 200
        top = os.open(tmp_path, os.O_RDONLY)
        fd = top
        try:
            for _ in range(60):
                os.mkdir(name, dir_fd=fd)
                deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
                if fd != top:
                    os.close(fd)
                fd = deeper
        finally:
            os.close(fd)
            os.close(top)
        remove_tree(tmp_path / name)
        assert names_in(tmp_path) == []

    def test_links_are_removed_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "precious").write_text("")
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
        remove_tree(tmp_path / "tree")
        (tmp_path / "link").symlink_to(tmp_path / "outside")
        remove_tree(tmp_path / "link")
        assert names_in(tmp_path) == ["outside"]
        assert names_in(tmp_path / "outside") == ["precious"]

    def test_what_is_not_there_is_removed_already(self, tmp_path: Path) -> None:
        remove_tree(tmp_path / "none")
        remove_tree(tmp_path / "none" / "deeper")
        assert names_in(tmp_path) == []

    def test_what_cannot_be_removed_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str, **_: int) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)

        (tmp_path / "file").write_text("")
        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.raises(PyroError, match=r"could not remove .*/file: Operation not permitted") as caught:
            remove_tree(tmp_path / "file")
        assert caught.value.code is ErrorCode.PERMISSION


class TestSparseCopy:
    def copy(self, source: Path, target: Path) -> None:
        with source.open("rb") as src, target.open("wb") as dst:
            sparse_copy(src.fileno(), dst.fileno())

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(40))
    @given(
        size=st.integers(0, 1 << 20),
        writes=st.lists(st.tuples(st.integers(0, (1 << 20) - 1), st.binary(min_size=1, max_size=9000)), max_size=6),
    )
    def test_the_copy_is_equal_to_the_last_byte(
        self, tmp_path: Path, size: int, writes: list[tuple[int, bytes]]
    ) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        with source.open("wb") as file:
            file.truncate(size)
            for offset, data in writes:
                os.pwrite(file.fileno(), data, offset)
        self.copy(source, target)
        assert target.read_bytes() == source.read_bytes()

    def test_holes_stay_holes(self, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        with source.open("wb") as file:
            file.truncate(1 << 30)
            os.pwrite(file.fileno(), b"x" * 4096, 512 << 20)
        self.copy(source, target)
        assert target.stat().st_size == 1 << 30
        assert target.stat().st_blocks * 512 < 1 << 20

    def test_where_the_kernel_cannot_copy_the_bytes_are_copied_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: int) -> int:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
        (tmp_path / "source").write_bytes(b"data" * 100_000)
        self.copy(tmp_path / "source", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"data" * 100_000

    def test_a_full_disk_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(b"data")
        with (
            (tmp_path / "source").open("rb") as source,
            open("/dev/full", "wb") as full,
            pytest.raises(PyroError) as caught,
        ):
            sparse_copy(source.fileno(), full.fileno())
        assert caught.value.message.startswith("could not copy a disk image")


def test_the_entries_of_a_directory_can_be_synced(tmp_path: Path) -> None:
    fsync_dir(tmp_path)
    with pytest.raises(NotADirectoryError):
        fsync_dir(type(tmp_path)(sys.executable))
