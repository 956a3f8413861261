"""Private directories for every test, a check that it leaves nothing behind, and a heartbeat."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.process import lifeline
from tests.support.guardian import guarded
from tests.support.guest_images import pull_images
from tests.support.heartbeat import Heartbeat
from tests.support.leaks import Census, leaks_since
from tests.support.thorough import examples
from tests.support.workers import adopt_orphans, available_memory_bytes, die_with_parent, reset_signals, worker_count

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["pytester"]

# They need what only `make smoke-hosts` and `make smoke-examples` install, or take minutes; tests/real_projects needs a
# network too.
collect_ignore = [
    *([] if "PYRO_TEST_HOSTS" in os.environ else ["real_hosts"]),
    *([] if "PYRO_TEST_LIBRARIES" in os.environ else ["real_libraries"]),
    *([] if os.environ.get("PYRO_TEST_SMOKES") == "1" else ["smokes"]),
    *([] if os.environ.get("PYRO_TEST_PROJECTS") == "1" else ["real_projects"]),
]

# What a developer may have set for the day must not decide whether a test passes.
UNSET = ("PYRO_FAULT_POINT", "PYRO_FAULT_TRACE", "PYRO_DEBUG", "PYRO_REQUIRE_KVM", "PYRO_VMM", "PYRO_ACCEL")

# No deadline: a busy machine is not a failure. No database: a run leaves nothing behind.
settings.register_profile("explore", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run, so that everybody sees the same failure; HYPOTHESIS_PROFILE=explore tries others.
settings.register_profile("pyro", settings.get_profile("explore"), derandomize=True, max_examples=examples(100))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "pyro"))


def is_worker(config: pytest.Config) -> bool:
    """Say whether pytest-xdist's controller started this process."""
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    reset_signals()
    # Whatever a test detaches becomes this process's child instead of init's, so that it can be found.
    adopt_orphans()
    if is_worker(config):
        die_with_parent()
    else:
        # Output is not captured yet, so this descriptor goes on leading to the terminal.
        config.pluginmanager.register(Heartbeat(os.dup(2)), "heartbeat")


def pytest_xdist_auto_num_workers() -> int:
    return worker_count(len(os.sched_getaffinity(0)), available_memory_bytes())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Pull the guests' images, but only for a run that boots guests."""
    config = session.config
    if config.getoption("collectonly") or not any(item.get_closest_marker("vm") for item in session.items):
        return
    # The heartbeat of a controller does not show how far its workers' pull is.
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        pull_images(quietly=not is_first)


@pytest.fixture(scope="session", autouse=True)
def session_directories(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Set state, runtime and temporary directories for this test process; images stay shared."""
    # pytest's own directory is not among those that are watched.
    base = tmp_path_factory.getbasetemp()
    root = Path(tempfile.mkdtemp(prefix="pyro-test-"))
    with pytest.MonkeyPatch.context() as patch, guarded(root, base):
        for variable, name in {"PYRO_STATE_DIR": "state", "PYRO_RUNTIME_DIR": "run", "TMPDIR": "tmp"}.items():
            (root / name).mkdir(mode=0o700)
            patch.setenv(variable, str(root / name))
        patch.setattr(tempfile, "tempdir", None)
        for variable in UNSET:
            patch.delenv(variable, raising=False)
        # Opened once, and held until this process ends.
        lifeline()
        before = Census.take(root)
        yield root
        left = leaks_since(before, root)
    remove_tree(root)
    assert not left, "the test run left behind:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(session_directories: Path) -> Generator[None]:
    """Fail a test that leaves a process, thread, descriptor, socket, mount or file behind."""
    before = Census.take(session_directories)
    yield
    left = leaks_since(before, session_directories)
    assert not left, "the test left behind:\n" + "\n".join(left)


@pytest.fixture
def private_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Return directories of the test's own, the image cache included."""
    monkeypatch.setenv("PYRO_ENVIRONMENT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYRO_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYRO_RUNTIME_DIR", str(tmp_path / "run"))
    return Paths.from_environment()
