"""A prune removes what nobody needs, and nothing else."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.progress import Silent
from pyro_mcp.image import catalog, in_use, prune
from pyro_mcp.image.environments import (
    EnvironmentState,
    InstalledEnvironment,
    find_environment,
    inspect_environment,
    install_environment,
    shelf,
)
from pyro_mcp.image.in_use import using_images
from tests.support.debian import FakeDebian
from tests.support.python import run_python

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

NAME = "debian:12-base"
PRUNE = """
from pyro_mcp.host.paths import Paths
from pyro_mcp.image.prune import prune
prune(Paths.from_environment())
"""


@pytest.fixture(autouse=True)
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDebian:
    fake = FakeDebian.make(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{fake.directory}:{os.environ['PATH']}")
    return fake


def install(paths: Paths, *, force: bool = False) -> InstalledEnvironment:
    return install_environment(paths, NAME, Silent(), force=force)


@pytest.fixture
def two(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> tuple[InstalledEnvironment, InstalledEnvironment]:
    """Install an environment of an old recipe and one of the present one."""
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_BUILD", 1000)
        old = install(private_paths)
    return old, install(private_paths)


def test_there_is_nothing_to_remove_in_an_empty_cache(private_paths: Paths) -> None:
    result = prune.prune(private_paths)

    assert (result.removed, result.skipped, result.swept, result.freed_bytes) == ((), (), 0, 0)


def test_what_the_catalog_names_stays(private_paths: Paths) -> None:
    found = install(private_paths)

    assert prune.prune(private_paths).removed == ()
    assert find_environment(private_paths, NAME) == found


def test_an_install_of_before_goes_and_what_that_freed_is_said(
    private_paths: Paths, two: tuple[InstalledEnvironment, InstalledEnvironment]
) -> None:
    old, new = two

    result = prune.prune(private_paths)

    assert [(r.kind, r.name, r.digest) for r in result.removed] == [("environment", NAME, old.digest[:12])]
    assert result.freed_bytes > 0
    assert not old.directory.exists()
    assert find_environment(private_paths, NAME) == new


def test_an_install_that_is_in_use_stays_whatever_became_of_its_name(
    private_paths: Paths,
    two: tuple[InstalledEnvironment, InstalledEnvironment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = two
    empty = catalog.Catalog("0", ())
    monkeypatch.setattr("pyro_mcp.image.catalog.load_catalog", lambda: empty)

    result = prune.prune(private_paths, keep={old.digest})

    assert [removed.digest for removed in result.removed] == [new.digest[:12]]
    assert find_environment(private_paths, NAME, digest=old.digest) == old


def test_what_no_catalog_names_goes_with_its_name(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    install(private_paths)
    monkeypatch.setattr("pyro_mcp.image.catalog.load_catalog", lambda: catalog.Catalog("0", ()))

    prune.prune(private_paths)

    assert shelf(private_paths).labels() == []


def test_a_broken_install_goes_and_is_missing_then(private_paths: Paths) -> None:
    os.unlink(install(private_paths).base_image)

    prune.prune(private_paths)

    assert inspect_environment(private_paths, NAME).state is EnvironmentState.MISSING


def test_what_is_being_pulled_is_left_alone(
    private_paths: Paths, two: tuple[InstalledEnvironment, InstalledEnvironment]
) -> None:
    lock = private_paths.locks / "pull-environment-debian@12-base"
    with file_lock(lock, timeout_s=0, waiting_for="the pull"):
        result = prune.prune(private_paths)

    assert result.removed == ()
    assert result.skipped == (NAME,)
    assert two[0].directory.exists()


def test_a_prune_waits_for_those_who_are_just_choosing_an_image(
    private_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(private_paths)
    monkeypatch.setattr(in_use, "_WAIT_S", 0.01)

    with (
        using_images(private_paths),
        using_images(private_paths),
        pytest.raises(PyroError, match="the image cache is in use") as caught,
    ):
        prune.prune(private_paths)
    assert caught.value.code is ErrorCode.BUSY

    prune.prune(private_paths)


def test_the_remains_of_a_killed_pull_are_swept(private_paths: Paths, debian: FakeDebian) -> None:
    install(private_paths)
    remains = private_paths.cache / "build/environment-debian@12"
    (remains / "tree/etc").mkdir(parents=True)
    (private_paths.tmp / "0123456789abcdef").mkdir()

    result = prune.prune(private_paths)

    assert result.swept == 2
    assert not remains.exists()
    assert list(private_paths.tmp.iterdir()) == []


@pytest.mark.parametrize("point", ["prune.before_remove", "install.removed_from_sight"])
def test_a_prune_that_is_killed_leaves_nothing_broken_and_the_next_one_finishes(
    private_paths: Paths, two: tuple[InstalledEnvironment, InstalledEnvironment], point: str
) -> None:
    killed = run_python(PRUNE, env={"PYRO_FAULT_POINT": f"{point}:kill"})
    assert killed.returncode == -signal.SIGKILL

    assert find_environment(private_paths, NAME) == two[1]
    prune.prune(private_paths)

    assert shelf(private_paths).digests("debian@12-base") == [two[1].digest[:12]]
    assert list(private_paths.tmp.iterdir()) == []
