"""Real guests for tests: images and templates are shared by all and with the user, everything else is a test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host.faults import forget_hits
from pyro_mcp.host.paths import Paths
from tests.support.host_fixture import HostFixture
from tests.support.one_verb import REAL_VARIABLE, Verbs, verbs

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """Return the image cache that `make images` filled."""
    return Paths.from_environment().cache


@pytest.fixture
def guests(shared_cache: Path, private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    """Give a test verbs that boot real guests."""
    forget_hits()
    monkeypatch.setenv("PYRO_ENVIRONMENT_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv(REAL_VARIABLE, "1")
    yard = HostFixture(replace(private_paths, cache=shared_cache))
    yield yard
    yard.close()


@pytest.fixture
def others(guests: HostFixture, tmp_path: Path) -> Generator[Verbs]:
    """Give a test other processes that each carry out one verb in the directories of `guests`."""
    guests.engine.reconcile()
    with verbs(tmp_path) as others:
        yield others
