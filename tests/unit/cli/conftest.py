"""A runner that answers as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pyro_mcp.cli import execution, guest_command, running
from tests.support.fake_runner import FakeRunner

if TYPE_CHECKING:
    from collections.abc import Callable


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
