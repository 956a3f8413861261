"""Verbs over the fake driver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import forget_hits
from tests.support.fake_driver import FakeDrivers
from tests.support.host_fixture import HostFixture
from tests.support.tiny_images import install_tiny_images

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Return one image cache for the whole run, with the template that the first test makes."""
    cache = tmp_path_factory.mktemp("tiny") / "cache"
    yield cache
    remove_tree(cache)


@pytest.fixture
def yard(private_paths: Paths, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    """Yield verbs over the fake driver, with a template in the cache."""
    forget_hits()
    monkeypatch.setenv("PYRO_ENVIRONMENT_CACHE_DIR", str(tiny_cache))
    paths = replace(private_paths, cache=tiny_cache)
    if not tiny_cache.exists():
        install_tiny_images(paths)
    yard = HostFixture(paths, FakeDrivers())
    if not paths.templates.exists():
        yard.run()
        yard.forget()
    yield yard
    yard.close()


@pytest.fixture
def cold_yard(private_paths: Paths) -> Generator[HostFixture]:
    """Yield verbs over the fake driver, with an image cache of the test's own and no template."""
    forget_hits()
    install_tiny_images(private_paths)
    yard = HostFixture(private_paths, FakeDrivers())
    yield yard
    yard.close()
