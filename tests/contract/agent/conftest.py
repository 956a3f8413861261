"""The agent as a process on this host and in a real guest; both keep the same contract."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.host.paths import Paths
from tests.support.agents import TIMEOUT_S, config, local_agent, opened
from tests.support.host_fixture import HostFixture
from tests.support.workspace_guest import Disks, workspace_bench

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.agent import Transport


@dataclass(frozen=True, slots=True)
class Guest:
    """A configured agent, on the host or in a guest."""

    transport: Transport
    is_machine: bool

    def session(self) -> AgentSession:
        return opened(self.transport)


@contextmanager
def guest_on_host(home: Path) -> Generator[Guest]:
    with local_agent(home) as agent:
        with AgentSession.open(agent.transport, timeout_s=TIMEOUT_S) as session:
            session.configure(config())
        yield Guest(agent.transport, is_machine=False)


@contextmanager
def guest_in_machine(home: Path) -> Generator[Guest]:
    shared = Paths.from_environment().cache
    yard = HostFixture(Paths(cache=shared, state=home / "state", runtime=home / "run"))
    with ExitStack() as stack:
        stack.callback(yard.close)
        vm = yard.started()
        assert vm.machine is not None
        machine = yard.engine.drivers.of(vm.machine.kind).attach(vm.machine)
        stack.callback(machine.close)
        yield Guest(machine.transport, is_machine=True)


@pytest.fixture(scope="module", params=["host", pytest.param("machine", marks=pytest.mark.vm)])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Guest]:
    """Yield one agent for all tests of a module."""
    home = tmp_path_factory.mktemp("agent")
    with guest_in_machine(home) if request.param == "machine" else guest_on_host(home) as guest:
        yield guest


@dataclass(frozen=True, slots=True)
class WorkspaceGuest:
    """A configured agent with a workspace and its baseline."""

    transport: Transport
    is_machine: bool

    def session(self) -> AgentSession:
        return opened(self.transport)


@contextmanager
def workspace_on_host(home: Path, tree: Path) -> Generator[WorkspaceGuest]:
    with local_agent(home) as agent:
        for place in (agent.root, home / "baseline"):
            shutil.copytree(tree, place, symlinks=True, dirs_exist_ok=True)
        with AgentSession.open(agent.transport, timeout_s=TIMEOUT_S) as session:
            session.configure(config())
        yield WorkspaceGuest(agent.transport, is_machine=False)


@contextmanager
def workspace_in_machine(home: Path, tree: Path) -> Generator[WorkspaceGuest]:
    disks = Disks(home / "disks")
    disks.seed(tree)
    with workspace_bench(home / "guests") as bench, bench.running(disks) as machine:
        yield WorkspaceGuest(machine.transport, is_machine=True)


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tree that the workspaces of a module start from; a module may override it."""
    tree = tmp_path_factory.mktemp("seed")
    (tree / "src").mkdir()
    (tree / "src" / "hello.txt").write_text("hello\n")
    return tree


@pytest.fixture(scope="module", params=["host", pytest.param("machine", marks=pytest.mark.vm)])
def workspace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: Path
) -> Generator[WorkspaceGuest]:
    """Yield one agent with a workspace for all tests of a module."""
    home = tmp_path_factory.mktemp("workspace")
    make = workspace_in_machine if request.param == "machine" else workspace_on_host
    with make(home, seed) as guest:
        yield guest


@pytest.fixture
def workspace_session(workspace: WorkspaceGuest) -> Generator[AgentSession]:
    """Yield a session with the workspace's agent."""
    with workspace.session() as session:
        yield session


@pytest.fixture
def session(guest: Guest) -> Generator[AgentSession]:
    """Yield a session of the test's own."""
    with guest.session() as session:
        yield session
