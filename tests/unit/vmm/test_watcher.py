"""Watchers: whom they ask, when they end, and whom they kill if nobody answers."""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.process.identity import boot_id, tree_of
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm import watcher as watcher_module
from pyro_mcp.vmm.watcher import start_watcher

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.process import Child

PATIENCE_S = 60.0


@pytest.fixture
def vmm() -> Generator[Child]:
    """Something that runs until it is killed; its name could be taken for more than one word."""
    with process.start(["/bin/sh", "-c", "read line", "a ) Z 1 (b"], stdin=process.PIPE) as child:
        yield child


def watching(vmm: Child, script: str, *arguments: str, start_time: int | None = None, after_s: float = 0.1) -> Child:
    record = MachineRecord(
        kind=VmmKind.QEMU,
        accelerator=Accelerator.TCG,
        boot_id=boot_id(),
        runtime_dir="/nowhere",
        keeper_pid=0,
        keeper_start_time=0,
        vmm_pid=vmm.pid,
        vmm_start_time=vmm.start_time if start_time is None else start_time,
    )
    return start_watcher("vm_test", record, ["/bin/sh", "-c", script, "sh", *arguments], after_s=after_s, disks="/")


def test_it_ends_when_it_is_told_that_there_is_nothing_more_to_watch(vmm: Child) -> None:
    with watching(vmm, "echo 0") as watcher:
        assert watcher.wait(PATIENCE_S) == 0
    assert vmm.poll() is None


def test_it_asks_again_as_often_as_it_is_told_to(vmm: Child, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    script = 'echo >>"$1"; if [ "$(wc -l <"$1")" -lt 3 ]; then echo 1; else echo 0; fi'
    with watching(vmm, script, str(asked)) as watcher:
        assert watcher.wait(PATIENCE_S) == 0
    assert asked.read_text() == "\n" * 3
    assert vmm.poll() is None


@pytest.mark.parametrize("script", ["exit 1", "true", "echo soon", "echo -1", "echo 0x1", "kill -9 $$"])
def test_the_vmm_is_killed_if_nobody_can_say(vmm: Child, script: str) -> None:
    with watching(vmm, script) as watcher:
        watcher.wait(PATIENCE_S)
    assert vmm.wait(PATIENCE_S) == -9


def nice_of(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_vmm_that_computes_gets_a_lower_priority_and_one_that_rests_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher_module, "PERIOD_S", 1)
    with (
        process.start(["/bin/sh", "-c", "read line; while :; do :; done"], stdin=process.PIPE) as busy,
        watching(busy, "echo 0", after_s=600) as watcher,
    ):
        own = nice_of(busy.pid)
        busy.close_stdin()
        wait_until(lambda: nice_of(busy.pid) == own + 7, timeout_s=PATIENCE_S, what="a lower priority")
        busy.send_signal(signal.SIGSTOP)
        # An ordinary user's process keeps it.
        may_return = os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - own
        after = own if may_return else own + 7
        wait_until(lambda: nice_of(busy.pid) == after, timeout_s=PATIENCE_S, what="its own priority")
        busy.kill()
        assert watcher.wait(PATIENCE_S) == 0


def test_a_process_that_only_has_the_pid_is_left_alone(vmm: Child, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with watching(vmm, 'echo >"$1"; exit 1', str(asked), start_time=vmm.start_time + 1) as watcher:
        assert watcher.wait(PATIENCE_S) == 0
    assert vmm.poll() is None
    assert not asked.exists()


def test_it_ends_by_itself_when_the_vmm_has_ended(vmm: Child, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    vmm.kill()
    with watching(vmm, 'echo >"$1"', str(asked)) as watcher:
        assert watcher.wait(PATIENCE_S) == 0
    assert not asked.exists()


def test_nothing_of_it_is_left_when_it_is_killed(vmm: Child) -> None:
    with watching(vmm, "sleep 600") as watcher:
        wait_until(lambda: len(tree_of(watcher.pid)) > 1, timeout_s=PATIENCE_S, what="it to ask")
        process.kill(watcher.pid, watcher.start_time, tree=True)
    assert vmm.poll() is None
