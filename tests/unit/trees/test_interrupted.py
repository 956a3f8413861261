"""Whatever ends a seed or an export, nothing half-made stands where the whole was to be."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees import staging
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.receive import TreeReceiver
from pyro_mcp.trees.seed import seed_disk
from pyro_mcp.trees.staging import PREFIX, staged_beside
from tests.support.python import python_that_says_ready, run_python
from tests.support.receiving import receive_tree
from tests.unit.trees.listed import Listed, directory, file
from tests.unit.trees.looking_in import DISK_BYTES, assert_clean, described

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.trees.entries import Data, Entry

UNSHARED = ("unshare", "--user", "--map-root-user", "--mount")
SEED = """
import sys
from pathlib import Path
from pyro_mcp.errors import PyroError
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.seed import seed_disk
try:
    seed_disk(Path(sys.argv[1]), Path(sys.argv[2]), 64 * 1024**2, Silent())
except PyroError as error:
    print(error.code.value, error.message)
"""
EXPORT = """
import sys
from pathlib import Path
from pyro_mcp.errors import PyroError
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.receive import TreeReceiver
try:
    with TreeReceiver(Path(sys.argv[2])) as receiver:
        for chunk in stream_tree(Path(sys.argv[1])):
            receiver.feed(chunk)
        receiver.finish()
except PyroError as error:
    print(error.code.value, error.message)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for number in range(20):
        (root / f"sub/{number}").write_text("x")
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def points(code: str, tree: Path, target: Path, trace: Path) -> list[str]:
    run_python(code, str(tree), str(target), env={"PYRO_FAULT_TRACE": str(trace)})
    return sorted(set(trace.read_text().split()))


def test_a_seed_that_was_killed_anywhere_is_no_file_system(tree: Path, place: Path, tmp_path: Path) -> None:
    passed = points(SEED, tree, place / "first.img", tmp_path / "trace")
    assert passed == ["seed.filled", "seed.filling", "seed.finished"]
    for point in passed:
        disk = place / f"{point}.img"
        done = run_python(SEED, str(tree), str(disk), env={"PYRO_FAULT_POINT": point})
        assert done.returncode == -signal.SIGKILL
        if point == "seed.finished":
            assert_clean(disk)
        else:
            # The superblock comes last.
            assert disk.read_bytes()[:4096] == bytes(4096)


@pytest.mark.parametrize("action", ["no_space", "raise"])
@pytest.mark.parametrize("point", ["seed.filling", "seed.filled", "seed.finished"])
def test_a_seed_that_fails_anywhere_leaves_no_disk(tree: Path, place: Path, point: str, action: str) -> None:
    done = run_python(SEED, str(tree), str(place / "disk.img"), env={"PYRO_FAULT_POINT": f"{point}:{action}"})

    assert done.text.startswith("no_space" if action == "no_space" else "internal"), done.stderr
    assert os.listdir(place) == []


def test_an_export_that_was_killed_anywhere_left_all_or_nothing(tree: Path, place: Path, tmp_path: Path) -> None:
    passed = points(EXPORT, tree, place / "first", tmp_path / "trace")
    assert passed == ["export.before_publish", "export.published", "export.received"]
    for point in passed:
        output = place / point
        done = run_python(EXPORT, str(tree), str(output), env={"PYRO_FAULT_POINT": point})
        assert done.returncode == -signal.SIGKILL
        if point == "export.published":
            assert described(output) == described(tree)
        else:
            assert not output.exists()
        assert [name for name in os.listdir(place) if name.startswith(PREFIX)]

    receive_tree(stream_tree(tree), place / "next")

    assert sorted(os.listdir(place)) == ["export.published", "first", "next"]


@pytest.mark.parametrize("action", ["no_space", "raise"])
@pytest.mark.parametrize("point", ["export.received", "export.before_publish"])
def test_an_export_that_fails_anywhere_leaves_nothing(tree: Path, place: Path, point: str, action: str) -> None:
    done = run_python(EXPORT, str(tree), str(place / "out"), env={"PYRO_FAULT_POINT": f"{point}:{action}"})

    assert done.text.startswith("no_space" if action == "no_space" else "internal"), done.stderr
    assert os.listdir(place) == []


def test_an_export_that_is_interrupted_leaves_nothing(tree: Path, place: Path) -> None:
    def interrupted() -> Generator[bytes]:
        yield next(iter(stream_tree(tree)))[:5000]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        receive_tree(interrupted(), place / "out")

    assert os.listdir(place) == []


def test_a_seed_that_is_interrupted_leaves_no_disk(place: Path) -> None:
    class Interrupted(Listed):
        def items(self) -> Generator[Entry | Data]:
            yield directory(b"d")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_disk(Interrupted([]), place / "disk.img", DISK_BYTES, Silent())

    assert os.listdir(place) == []


@pytest.mark.parametrize("code", [SEED, EXPORT], ids=["seed", "export"])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, place: Path, code: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/big").write_bytes(os.urandom(6 * 1024**2))
    # In a mount namespace of its own, where a small file system is easily had.
    script = 'mount -t tmpfs -o size=4m none "$1" && "$2" -c "$3" "$4" "$1/target" && ls -A "$1"'
    done = process.run(
        [*UNSHARED, "sh", "-c", script, "sh", str(place), sys.executable, code, str(tmp_path / "tree")],
        timeout_s=60,
        check=False,
    )

    lines = done.text.splitlines()
    assert [line.split()[0] for line in lines] == ["no_space"], done.stderr
    assert "No space left on device" in lines[0]


def test_two_exports_side_by_side_leave_each_other_alone(place: Path) -> None:
    first = b"".join(stream_tree(Listed([directory(b""), file(b"f", b"first")])))
    with TreeReceiver(place / "one") as one:
        one.feed(first[:1000])
        receive_tree([b"".join(stream_tree(Listed([directory(b""), file(b"f", b"second")])))], place / "two")
        one.feed(first[1000:])
        one.finish()

    assert (place / "one/f").read_text() == "first"
    assert (place / "two/f").read_text() == "second"
    assert sorted(os.listdir(place)) == ["one", "two"]


def test_only_what_a_dead_export_left_is_swept(place: Path, tmp_path: Path) -> None:
    dead, linked = f"{PREFIX}{'0' * 16}", f"{PREFIX}{'1' * 16}"
    foreign = [f"{PREFIX}notes", f"{PREFIX}{'2' * 17}", "mine"]
    for name in (dead, *foreign):
        (place / name / "sub").mkdir(parents=True)
        (place / name / "sub").chmod(0o500)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").touch()
    (place / linked).symlink_to(tmp_path / "elsewhere")

    with staged_beside(place / "out"):
        pass

    assert sorted(os.listdir(place)) == sorted([*foreign, linked])
    assert os.listdir(tmp_path / "elsewhere") == ["file"]


def test_where_there_are_no_hard_links_a_file_is_renamed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*arguments: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(staging.os, "link", no_links)
    receive_tree(stream_tree(Listed([file(b".", b"content")])), place / "out")

    assert (place / "out").read_text() == "content"
    with pytest.raises(PyroError) as caught:
        receive_tree(stream_tree(Listed([file(b".", b"other")])), place / "out")
    assert caught.value.code is ErrorCode.CONFLICT


SWAPPER = """
import os, sys
place, outside = sys.argv[1:]
print("ready", flush=True)
while True:
    for name in os.listdir(place):
        if not name.startswith(".pyro-export-"):
            continue
        for below in ("result", "result/d", "result/d/d"):
            path = f"{place}/{name}/{below}"
            try:
                os.rename(path, f"{place}/aside")
                os.symlink(outside, path)
                os.unlink(path)
                os.rename(f"{place}/aside", path)
            except OSError:
                pass
"""


def test_somebody_who_swaps_directories_for_links_gets_nothing_written_outside(place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "canary").write_text("alive")
    items = [directory(b""), directory(b"d"), directory(b"d/d")]
    items += [file(b"%bf%d" % (below, number), b"x") for number in range(20) for below in (b"", b"d/", b"d/d/")]
    stream = b"".join(stream_tree(Listed(items)))
    ends: list[str] = []
    with python_that_says_ready(SWAPPER, str(place), str(outside)):
        for number in range(40):
            try:
                receive_tree([stream], place / f"out{number}")
                ends.append("all")
            except PyroError as error:
                ends.append(error.code.value)

    assert described(outside) == {b"d": ("directory", 0o755, b""), b"canary": ("file", 0o644, b"alive")}
    # Otherwise nobody was in the way, and this showed nothing.
    assert set(ends) - {"all"}


NOTED = """
import os, sys
from pathlib import Path
from pyro_mcp.trees.staging import staged_beside
with staged_beside(Path(sys.argv[1]), notes=Path(sys.argv[2])) as staging:
    os.mkdir("guests data", dir_fd=staging.fd)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_staging_directory_of_a_process_that_was_killed_is_found_by_its_note(tmp_path: Path) -> None:
    place, notes = tmp_path / "place", tmp_path / "notes"
    place.mkdir()
    argv = [sys.executable, "-c", NOTED, place / "out", notes]
    with process.start(argv, stdin=process.PIPE, stdout=process.PIPE) as child:
        assert child.stdout is not None
        assert os.read(child.stdout, 5) == b"ready"
        staging.sweep_noted(notes)
        assert len(os.listdir(place)) == len(os.listdir(notes)) == 1
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert len(os.listdir(place)) == 1
    (place / "ours").touch()
    staging.sweep_noted(notes)
    assert os.listdir(place) == ["ours"]
    assert os.listdir(notes) == []


def test_a_note_goes_with_its_staging_directory_and_a_strange_one_harms_nothing(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with staged_beside(tmp_path / "out", notes=notes):
        assert len(os.listdir(notes)) == 1
    assert os.listdir(notes) == []
    (notes / "gone").write_text("/no/such/directory")
    (notes / "empty").touch()
    (notes / "link").symlink_to("/etc/passwd")
    staging.sweep_noted(notes)
    assert os.listdir(notes) == ["link"]
