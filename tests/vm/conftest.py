"""Real guests: images and templates are the user's, everything else is the test's own."""

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
    """Return the user's image cache."""
    return Paths.from_environment().cache


@pytest.fixture
def guests(shared_cache: Path, private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    """Yield verbs that boot real guests."""
    forget_hits()
    monkeypatch.setenv("PYRO_ENVIRONMENT_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv(REAL_VARIABLE, "1")
    yard = HostFixture(replace(private_paths, cache=shared_cache))
    yield yard
    yard.close()


@pytest.fixture
def others(guests: HostFixture, tmp_path: Path) -> Generator[Verbs]:
    """Yield other processes that each run one verb in the directories of `guests`."""
    guests.engine.reconcile()
    with verbs(tmp_path) as others:
        yield others
