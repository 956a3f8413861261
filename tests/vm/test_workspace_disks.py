"""A guest's /workspace is a disk of its own, in every command's view, and left clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession, ExecRequest, Flavour
from pyro_mcp.host import process
from tests.support.agents import TIMEOUT_S, run
from tests.support.workspace_guest import Disks, WorkspaceBench, configuration, workspace_bench

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.vmm.driver import Machine

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[WorkspaceBench]:
    with workspace_bench(tmp_path_factory.mktemp("guests")) as bench:
        yield bench


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / "src" / "hello.txt").write_text("from the host\n")
    disks = Disks(tmp_path / "disks")
    disks.seed(tree)
    return disks


def opened(machine: Machine) -> AgentSession:
    return AgentSession.open(machine.transport, timeout_s=TIMEOUT_S)


def power_off(machine: Machine) -> None:
    with opened(machine) as session:
        session.poweroff()
    assert machine.wait_for_end(TIMEOUT_S)


def is_clean(disk: Path) -> bool:
    """Say whether a file system was unmounted: nothing of it is in its journal alone."""
    shown = process.run(["dumpe2fs", "-h", disk], timeout_s=30).text
    assert "has_journal" in shown
    return "needs_recovery" not in shown and process.run(["e2fsck", "-fn", disk], timeout_s=60).returncode == 0


def test_a_first_command_stands_in_the_mounted_workspace(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine, opened(machine) as session:
        ran = run(session, "pwd; cat src/hello.txt; stat -c %d . / | uniq | wc -l; ls -A | tr '\\n' ' '")
        assert ran.stdout == b"/workspace\nfrom the host\n2\nsrc "


def test_a_command_may_follow_the_configuration_at_once(bench: WorkspaceBench, disks: Disks) -> None:
    output = bytearray()
    with bench.running(disks, configure=False) as machine, opened(machine) as session:
        request = ExecRequest(("cat", "src/hello.txt"), timeout_s=TIMEOUT_S)
        session.exec(request, config=configuration(Flavour.FRESH), on_output=lambda _, data: output.extend(data))
    assert output == b"from the host\n"


def test_a_stopped_workspace_is_clean_and_comes_back(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine:
        with opened(machine) as session:
            run(session, "echo 1 > kept; echo 2 > /root/kept; (sleep 1000 >> kept &); exec 3> open; rm src/hello.txt")
        power_off(machine)
    assert is_clean(disks.workspace)
    with bench.running(disks) as machine:
        with opened(machine) as session:
            assert run(session, "cat kept /root/kept; ls; cat /proc/mounts").stdout.startswith(
                b"1\n2\nkept\nopen\nsrc\n"
            )
            run(session, "echo 3 >> kept")
        power_off(machine)
    assert is_clean(disks.workspace)
    assert is_clean(disks.root)


@pytest.mark.parametrize("left", ["ln -s /etc /workspace", "touch /workspace", "true"])
def test_whatever_stands_in_the_way_of_the_workspace_is_replaced(
    bench: WorkspaceBench, disks: Disks, left: str
) -> None:
    with bench.running(disks) as machine:
        with opened(machine) as session:
            assert run(session, f"umount /workspace && rmdir /workspace && {left}", cwd="/").result.exit_code == 0
        power_off(machine)
    with bench.running(disks) as machine, opened(machine) as session:
        assert run(session, "cat src/hello.txt").stdout == b"from the host\n"
        assert run(session, "test -e /etc/src", cwd="/").result.exit_code == 1
