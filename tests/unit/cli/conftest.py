"""A runner that answers as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pyro_mcp.cli import execution, guest_command
from pyro_mcp.cli.builtins import running
from tests.support.fake_runner import FakeRunner
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.host.paths import Paths


@pytest.fixture
def on_host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """Create a workspace named `mend` whose commands run on this host; yield its id."""
    monkeypatch.setenv("PYRO_VMM", "none")
    host = HostFixture(private_paths)
    yield host.workspace(None, allow_host_compat=True, name="mend").id
    host.close()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], FakeRunner]:
    """Let the test say what operations answer."""

    def install(answer: Any) -> FakeRunner:
        def same(*_: object) -> object:
            return answer

        fake = FakeRunner(cast("Any", answer) if callable(answer) else same)
        for module in (execution, guest_command, running):
            monkeypatch.setattr(module, "Runner", lambda: fake)
        return fake

    return install
