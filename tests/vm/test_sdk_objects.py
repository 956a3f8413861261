"""The SDK's objects with real guests: the examples of the documentation, and cancelled calls."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import (
    AsyncPyro,
    InvalidError,
    IsDirectoryError,
    NotFoundError,
    NotPermittedError,
    ProgressEvent,
    Pyro,
    TooLargeError,
    Workspace,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.vm
SDK = Path(__file__).resolve().parents[2] / "docs" / "sdk.md"
TREE = "sleep 9871 & setsid sleep 9872 & touch begun; wait"
WAIT_S = 60


@pytest.fixture(scope="module")
def workspace() -> Generator[Workspace]:
    with Pyro().workspace("debian:12") as made:
        yield made


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline
        os.sched_yield()


def left_running(workspace: Workspace) -> str:
    return workspace.exec("pgrep -af 'sleep 987[12]'; true").stdout


def test_the_examples_of_the_documentation_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", SDK.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(SDK), "exec"), names)
    assert len(blocks) > 8
    with pytest.raises(NotFoundError):
        Pyro().status_workspace("sdk-docs")


def test_files_are_bytes_of_any_size_at_any_path(workspace: Workspace, tmp_path: Path) -> None:
    files = workspace.files
    data = os.urandom(1024 * 1024) * 100
    (tmp_path / "large").write_bytes(data)
    with (tmp_path / "large").open("rb") as large:
        assert files.write("/var/tmp/large", large).size_bytes == len(data)
    assert files.read_bytes("/var/tmp/large") == data
    files.mkdir("/srv/a/b")
    files.move("/var/tmp/large", "/srv/a/b/large")
    assert [(each.path, each.size_bytes) for each in files.list("/srv/a/b")] == [("/srv/a/b/large", len(data))]
    files.write("/srv/a/odd", b"\xff\0")
    assert (files.read_bytes("/srv/a/odd"), files.stat("/srv/a/odd").mode) == (b"\xff\0", 0o644)
    with pytest.raises(InvalidError, match="is not UTF-8 text"):
        files.read("/srv/a/odd")
    with pytest.raises(NotFoundError):
        files.read("/srv/none")
    with pytest.raises(IsDirectoryError):
        files.read("/srv/a")
    with pytest.raises(TooLargeError):
        files.read_bytes("/srv/a/b/large", max_bytes=1000)
    with pytest.raises(NotPermittedError):
        files.write("/sys/made", "x")
    files.remove("/srv/a", recursive=True)
    assert not files.exists("/srv/a")


def test_progress_is_told_to_a_callable() -> None:
    seen: list[ProgressEvent] = []
    assert Pyro(progress=seen.append).run_in_vm("debian:12-base", "echo ran").stdout == "ran\n"
    assert [each.phase for each in seen][:2] == ["create", "start"]
    assert {"execute"} <= {each.phase for each in seen}


def test_a_task_that_is_cancelled_takes_the_guests_processes_along(workspace: Workspace) -> None:
    async def main() -> None:
        async with AsyncPyro() as pyro:
            same = await pyro.workspace(id=workspace.id)
            task = asyncio.create_task(same.exec(TREE, timeout_seconds=None))
            while not await same.files.exists("begun"):
                continue
            assert "sleep 9872" in (await same.exec("pgrep -af 'sleep 987[12]'")).stdout
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert left_running(workspace) == ""
    workspace.files.remove("begun")


@pytest.mark.parametrize("surface", ["SDK", "command line"])
def test_a_program_that_is_interrupted_takes_the_guests_processes_along(workspace: Workspace, surface: str) -> None:
    listen = "import signal; signal.signal(2, signal.default_int_handler)"
    program = f"from pyro_mcp import Pyro; Pyro().workspace(id={workspace.id!r}).exec({TREE!r}, timeout_seconds=None)"
    words = ["-m", "pyro_mcp", "workspace", "exec", workspace.id, "--timeout", "none", "--", TREE]
    arguments = {"SDK": ["-c", f"{listen}; {program}"], "command line": words}
    with subprocess.Popen([sys.executable, *arguments[surface]], stderr=subprocess.PIPE) as child:
        wait_until(lambda: workspace.files.exists("begun"))
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate()
    assert b"KeyboardInterrupt" in stderr if surface == "SDK" else child.returncode == 130
    wait_until(lambda: left_running(workspace) == "")
    workspace.files.remove("begun")


def test_many_calls_run_at_once() -> None:
    async def main() -> list[str]:
        # A workspace of its own, since the files with long output go with it.
        async with AsyncPyro() as pyro, pyro.workspace("debian:12-base") as made:
            ran = await asyncio.gather(*(made.exec(f"head -c 500000 /dev/zero | tr '\\0' {n}") for n in range(5)))
            return [each.stdout for each in ran]

    assert asyncio.run(main()) == [str(n) * 500_000 for n in range(5)]


def test_a_workspace_that_existed_is_kept_and_one_that_is_gone_does_not_matter() -> None:
    pyro = Pyro()
    made = pyro.workspace("debian:12-base")
    with pyro.workspace(id=made.id[:10]) as same:
        assert same.id == made.id
    with pyro.workspace(id=made.id, keep=False) as same:
        same.delete()
    with pytest.raises(NotFoundError, match="not_found"):
        made.status()
