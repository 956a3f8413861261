"""An environment is installed whole or not at all, and an install that is not whole is noticed and repaired."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import faults, process
from pyro_mcp.host.progress import Silent
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.image import catalog
from pyro_mcp.image.environments import (
    EnvironmentState,
    ensure_environment,
    find_environment,
    inspect_environment,
    install_environment,
    list_environments,
)
from tests.support.debian import FakeDebian
from tests.support.thorough import sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

NAME = "debian:12-base"
PULL = f"""
import sys
from pyro_mcp.errors import PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Lines
from pyro_mcp.image.environments import install_environment
try:
    with Lines(sys.stderr) as progress:
        print(install_environment(Paths.from_environment(), "{NAME}", progress).digest)
except PyroError as error:
    sys.exit(error.code.value)
"""
POINTS = [
    "environment.before_build",
    "environment.after_build",
    "environment.after_image",
    "environment.before_publish",
    "staged_dir.before_rename",
    "staged_dir.before_dir_sync",
    "install.before_current",
    "atomic_write.before_sync",
    "atomic_write.before_rename",
    "atomic_write.before_dir_sync",
]


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDebian:
    fake = FakeDebian.make(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{fake.directory}:{os.environ['PATH']}")
    return fake


def pull(paths: Paths, *, force: bool = False) -> str:
    return install_environment(paths, NAME, Silent(), force=force).digest


def state_of(paths: Paths) -> EnvironmentState:
    return inspect_environment(paths, NAME).state


def left_over(paths: Paths) -> list[str]:
    """Return what lies about in the directories for unfinished work."""
    places = [paths.tmp, paths.cache / "build"]
    return sorted(str(path) for place in places if place.exists() for path in place.iterdir())


@contextmanager
def pull_in_background(**env: str) -> Generator[process.Child]:
    command = [sys.executable, "-c", PULL]
    with process.start(
        command, env=os.environ | env, stdout=process.PIPE, stderr=process.PIPE, start_new_session=True
    ) as child:
        yield child


def pull_in_foreground(**env: str) -> process.Completed:
    return process.run([sys.executable, "-c", PULL], env=os.environ | env, timeout_s=60, check=False)


@pytest.mark.usefixtures("debian")
class TestInstall:
    def test_an_environment_is_missing_until_it_is_installed(self, private_paths: Paths) -> None:
        assert state_of(private_paths) is EnvironmentState.MISSING
        assert find_environment(private_paths, NAME) is None

        digest = pull(private_paths)

        found = find_environment(private_paths, NAME)
        assert found is not None
        assert found.digest == digest
        assert state_of(private_paths) is EnvironmentState.INSTALLED

    def test_the_manifest_says_what_it_holds_and_from_what_it_was_built(self, private_paths: Paths) -> None:
        found = install_environment(private_paths, NAME, Silent())

        document = json.loads((found.directory / "manifest.json").read_bytes())
        recipe = catalog.load_catalog().find(NAME)
        assert document["packages"] == {"git": "1:2.39-1", "libc6": "2.36-9"}
        assert document["recipe"] == json.loads(json.dumps(recipe.to_json()))
        assert document["recipe_digest"] == recipe.digest
        assert document["tools"]["mmdebstrap"] == "0.0.0"
        assert document["tools"]["mke2fs"]
        assert document["artifacts"]["base.img"]["size"] == found.base_image.stat().st_size == found.size_bytes
        assert found.variables["LANG"] == "C.UTF-8"

    def test_the_image_is_a_clean_file_system_with_empty_places_to_mount_on(self, private_paths: Paths) -> None:
        image = install_environment(private_paths, NAME, Silent()).base_image

        process.run(["e2fsck", "-fn", image], timeout_s=30)
        listing = process.run(["debugfs", "-R", "ls -p /", image], timeout_s=30).text
        assert "/040755/0/0/workspace/" in listing
        for name in ("dev", "proc", "run", "sys", "tmp"):
            inside = process.run(["debugfs", "-R", f"ls -p /{name}", image], timeout_s=30).text
            assert sorted(line.split("/")[5] for line in inside.splitlines() if line) == [".", ".."], name

    def test_nobody_can_write_the_image_and_others_can_read_it_by_descriptor(self, private_paths: Paths) -> None:
        found = install_environment(private_paths, NAME, Silent())

        assert found.base_image.stat().st_mode & 0o777 == 0o444
        assert private_paths.cache.stat().st_mode & 0o077 == 0

    def test_what_is_installed_is_not_built_again(self, private_paths: Paths, debian: FakeDebian) -> None:
        first = pull(private_paths)

        assert pull(private_paths) == first
        assert ensure_environment(private_paths, NAME, Silent()).digest == first
        assert debian.runs == 1

    def test_force_builds_again(self, private_paths: Paths, debian: FakeDebian) -> None:
        pull(private_paths)

        pull(private_paths, force=True)

        assert debian.runs == 2
        assert state_of(private_paths) is EnvironmentState.INSTALLED

    def test_nothing_is_left_of_the_work(self, private_paths: Paths) -> None:
        pull(private_paths)

        assert left_over(private_paths) == []

    def test_the_list_tells_of_every_environment(self, private_paths: Paths) -> None:
        pull(private_paths)

        states = {status.name: status.state for status in list_environments(private_paths)}
        assert states.pop(NAME) is EnvironmentState.INSTALLED
        assert set(states.values()) == {EnvironmentState.MISSING}

    def test_an_unknown_name_is_refused_before_anything_is_made(self, private_paths: Paths) -> None:
        with pytest.raises(PyroError) as caught:
            install_environment(private_paths, "debian:99", Silent())

        assert caught.value.code is ErrorCode.NOT_FOUND
        assert not private_paths.cache.exists()


@pytest.mark.usefixtures("debian")
class TestUpgrade:
    def test_a_changed_recipe_makes_an_install_outdated_but_usable(
        self, private_paths: Paths, monkeypatch: pytest.MonkeyPatch, debian: FakeDebian
    ) -> None:
        before = pull(private_paths)
        monkeypatch.setattr(catalog, "_BUILD", 1000)

        status = inspect_environment(private_paths, NAME)
        assert (status.state, status.outdated) == (EnvironmentState.INSTALLED, True)
        assert ensure_environment(private_paths, NAME, Silent()).digest == before

        after = pull(private_paths)
        assert after != before
        assert debian.runs == 2
        assert not inspect_environment(private_paths, NAME).outdated

    def test_the_install_of_before_can_still_be_found_by_its_digest(
        self, private_paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = pull(private_paths)
        monkeypatch.setattr(catalog, "_BUILD", 1000)
        pull(private_paths)

        found = find_environment(private_paths, NAME, digest=before)

        assert found is not None
        assert found.digest == before

    def test_what_the_catalog_has_no_more_stays_in_the_list(
        self, private_paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pull(private_paths)
        smaller = catalog.Catalog("0", tuple(e for e in catalog.load_catalog().environments if e.name != NAME))
        monkeypatch.setattr("pyro_mcp.image.catalog.load_catalog", lambda: smaller)

        (status,) = (status for status in list_environments(private_paths) if status.name == NAME)

        assert status.state is EnvironmentState.INSTALLED
        assert status.description == "no longer in the catalog"
        assert inspect_environment(private_paths, NAME).state is EnvironmentState.INSTALLED


def flip_a_byte(directory: Path) -> None:
    image = directory / "base.img"
    image.chmod(0o644)
    with open(image, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))


def truncate(directory: Path) -> None:
    (directory / "base.img").chmod(0o644)
    os.truncate(directory / "base.img", 4096)


def edit_the_manifest(directory: Path) -> None:
    path = directory / "manifest.json"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"1:2.39-1", b"1:6.66-6"))


def garbage_in_current(directory: Path) -> None:
    (directory.parent / "current").write_bytes(b"\0\xff")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped byte": (flip_a_byte, "base.img does not match its digest"),
    "truncated image": (truncate, "base.img has 4096 bytes instead of"),
    "no image": (lambda directory: (directory / "base.img").unlink(), "base.img is missing"),
    "no manifest": (lambda directory: (directory / "manifest.json").unlink(), "manifest.json is missing"),
    "edited manifest": (edit_the_manifest, "manifest.json does not match its digest"),
    "no directory": (shutil.rmtree, "the directory .* is missing"),
    "garbage in current": (garbage_in_current, "current does not hold a digest"),
}


@pytest.mark.usefixtures("debian")
class TestRepair:
    @pytest.mark.parametrize("how", DAMAGE)
    def test_damage_is_noticed_named_and_repaired_by_the_next_pull(
        self, private_paths: Paths, how: str, debian: FakeDebian
    ) -> None:
        damage, reason = DAMAGE[how]
        damage(install_environment(private_paths, NAME, Silent()).directory)

        status = inspect_environment(private_paths, NAME)
        assert status.state is EnvironmentState.BROKEN
        assert status.installed is None
        with pytest.raises(PyroError, match=reason) as caught:
            find_environment(private_paths, NAME)
        assert caught.value.code is ErrorCode.CORRUPT
        assert caught.value.message == status.reason

        pull(private_paths)

        assert debian.runs == 2
        assert state_of(private_paths) is EnvironmentState.INSTALLED
        assert left_over(private_paths) == []

    def test_damage_is_repaired_on_the_way_to_using_it(self, private_paths: Paths) -> None:
        flip_a_byte(install_environment(private_paths, NAME, Silent()).directory)

        assert ensure_environment(private_paths, NAME, Silent()).base_image.exists()

    def test_without_its_pointer_an_install_counts_as_missing(self, private_paths: Paths) -> None:
        directory = install_environment(private_paths, NAME, Silent()).directory
        (directory.parent / "current").unlink()

        assert state_of(private_paths) is EnvironmentState.MISSING


class TestFailure:
    @pytest.mark.parametrize(
        ("mode", "code", "says"),
        [
            ("mirror", ErrorCode.UNAVAILABLE, "the Debian mirror can't be reached or fails: E: Failed to fetch"),
            ("full", ErrorCode.NO_SPACE, "the disk is full"),
            ("crash", ErrorCode.BUILD_FAILED, "mmdebstrap ended with exit status 3: E: something odd"),
        ],
    )
    def test_a_build_that_fails_half_way_says_why_and_leaves_nothing(
        self, private_paths: Paths, debian: FakeDebian, mode: str, code: ErrorCode, says: str
    ) -> None:
        debian.behave(mode)

        with pytest.raises(PyroError, match=says) as caught:
            pull(private_paths)

        assert caught.value.code is code
        assert caught.value.hint
        assert left_over(private_paths) == []
        assert state_of(private_paths) is EnvironmentState.MISSING
        debian.behave("ok")
        pull(private_paths)

    def test_a_rebuild_that_fails_leaves_the_install_of_before(self, private_paths: Paths, debian: FakeDebian) -> None:
        before = pull(private_paths)
        debian.behave("mirror")

        with pytest.raises(PyroError):
            pull(private_paths, force=True)

        found = find_environment(private_paths, NAME)
        assert found is not None
        assert found.digest == before

    def test_a_missing_mmdebstrap_is_named_with_the_command_that_installs_it(
        self, private_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))

        with pytest.raises(PyroError, match="mmdebstrap") as caught:
            pull(private_paths)

        assert caught.value.code is ErrorCode.MISSING_PROGRAM
        assert "mmdebstrap" in caught.value.hint
        assert left_over(private_paths) == []

    @pytest.mark.usefixtures("debian")
    def test_a_cache_that_can_not_be_made_is_named(self, private_paths: Paths, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file in its place")

        with pytest.raises(PyroError, match="cache"):
            pull(private_paths)

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize(("action", "code"), [("raise", ErrorCode.INTERNAL), ("no_space", ErrorCode.NO_SPACE)])
    @pytest.mark.usefixtures("debian")
    def test_a_failure_at_any_step_is_an_error_and_leaves_nothing(
        self, private_paths: Paths, monkeypatch: pytest.MonkeyPatch, point: str, action: str, code: ErrorCode
    ) -> None:
        faults.forget_hits()
        monkeypatch.setenv("PYRO_FAULT_POINT", f"{point}:{action}")

        with pytest.raises(PyroError) as caught:
            pull(private_paths)

        assert caught.value.code is code
        assert left_over(private_paths) == []
        assert state_of(private_paths) is not EnvironmentState.BROKEN
        monkeypatch.delenv("PYRO_FAULT_POINT")
        pull(private_paths)
        assert state_of(private_paths) is EnvironmentState.INSTALLED


class TestInterruption:
    @pytest.mark.usefixtures("private_paths")
    def test_the_list_of_steps_is_complete(self, tmp_path: Path, debian: FakeDebian) -> None:
        trace = tmp_path / "trace"
        pull_in_foreground(PYRO_FAULT_TRACE=str(trace))

        assert set(trace.read_text().split()) == set(POINTS)
        assert debian.runs == 1

    @pytest.mark.parametrize("point", sampled(POINTS))
    @pytest.mark.usefixtures("debian")
    def test_a_pull_killed_at_any_step_looks_like_none_and_the_next_one_works(
        self, private_paths: Paths, point: str
    ) -> None:
        killed = pull_in_foreground(PYRO_FAULT_POINT=f"{point}:kill")
        assert killed.returncode == -signal.SIGKILL

        assert state_of(private_paths) is not EnvironmentState.BROKEN
        pull(private_paths)

        assert state_of(private_paths) is EnvironmentState.INSTALLED
        pull(private_paths, force=True)
        assert left_over(private_paths) == []

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    def test_a_pull_ended_while_it_builds_takes_the_builder_with_it(
        self, private_paths: Paths, debian: FakeDebian, number: signal.Signals
    ) -> None:
        debian.behave("hang")
        with pull_in_background() as child:
            debian.wait_for_start()
            child.send_signal(number)
            assert child.wait(20) != 0

        # That no builder is left is checked after every test.
        assert state_of(private_paths) is EnvironmentState.MISSING
        if number == signal.SIGINT:
            assert left_over(private_paths) == []
        debian.behave("ok")
        pull(private_paths)
        assert left_over(private_paths) == []


class TestTwoAtOnce:
    def test_two_pulls_build_once_and_the_second_says_that_it_waits(
        self, private_paths: Paths, debian: FakeDebian
    ) -> None:
        debian.behave("gate")
        with pull_in_background() as first:
            debian.wait_for_start()
            with pull_in_background() as second:
                said = bytearray()

                def waits() -> bool:
                    assert second.stderr is not None
                    said.extend(os.read(second.stderr, 4096))
                    return b"[wait] the pull of debian:12-base is in use by process" in said

                wait_until(waits, timeout_s=20, what="the second pull to say that it waits")
                debian.open_gate()
                assert (first.wait(30), second.wait(30)) == (0, 0)
                assert first.stdout is not None
                assert second.stdout is not None
                digests = {os.read(first.stdout, 100), os.read(second.stdout, 100)}

        assert debian.runs == 1
        found = find_environment(private_paths, NAME)
        assert found is not None
        assert digests == {f"{found.digest}\n".encode()}

    def test_a_pull_that_waited_for_one_that_fails_builds_itself(
        self, private_paths: Paths, debian: FakeDebian
    ) -> None:
        debian.behave("hang")
        with pull_in_background() as first:
            debian.wait_for_start()
            debian.behave("ok")
            with pull_in_background() as second:
                assert second.stderr is not None
                os.read(second.stderr, 1)
                first.send_signal(signal.SIGKILL)
                assert second.wait(30) == 0

        assert debian.runs == 2
        assert state_of(private_paths) is EnvironmentState.INSTALLED
