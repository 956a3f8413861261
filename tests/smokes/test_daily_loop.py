"""A machine's day: prepare cold, warm, stale and why, connect, and a workspace's life (make smoke-daily-loop)."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host.paths import Paths
from tests.support.pyro_cli import pyro, pyro_json
from tests.support.sample_repo import PATCH, TEST, make_repo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]
ENVIRONMENT = "debian:12-base"
COLUMNS = 80


@pytest.fixture
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this test a home and a cache of its own, in which the images are installed and nothing is prepared."""
    shared, cache = Paths.from_environment(), tmp_path / "cache"
    cache.mkdir(mode=0o700)
    for place in (shared.boot, shared.cache / "boot-kit", shared.environments):
        shutil.copytree(place, cache / place.name, copy_function=os.link)
    monkeypatch.setenv("PYRO_ENVIRONMENT_CACHE_DIR", str(cache))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return cache


def loop() -> dict[str, Any]:
    """Return what doctor says of the daily loop, after a look at what people read."""
    read = pyro("doctor", "--environment", ENVIRONMENT).stdout.decode()
    found = pyro_json("doctor", "--environment", ENVIRONMENT)["daily_loop"]
    assert f"Daily loop: {found['status'].upper()} ({ENVIRONMENT})" in read.splitlines()
    assert (f"Run: pyro prepare {ENVIRONMENT}" in read.splitlines()) is (found["status"] != "warm")
    assert f"Reason: {found['reason'].partition('; run: ')[0]}" in read.splitlines()
    assert_readable(read)
    return found


def assert_readable(text: str) -> None:
    """Check that no line is broken by a terminal, except for a path or a command to copy."""
    for line in text.splitlines():
        assert len(line) <= COLUMNS or line.startswith(("fix:", "Faster:", "Run:")) or " /" in line, line


def test_a_machine_is_prepared_connected_and_used_for_a_day(new_machine: Path, tmp_path: Path) -> None:
    assert loop()["status"] == "cold"
    first = pyro("prepare", ENVIRONMENT)
    assert first.returncode == 0, first.stderr
    assert_readable(first.stdout.decode())
    told = first.stdout.decode().splitlines()
    assert {"Daily loop: WARM", "Result: prepared network_prepared=no", "Reason: never prepared"} <= set(told)
    assert (loop()["status"], pyro_json("prepare", ENVIRONMENT)["reused"]) == ("warm", True)

    # As after an upgrade of QEMU.
    record = new_machine / "prepared.json"
    document = json.loads(record.read_bytes())
    document["environments"][ENVIRONMENT]["facts"]["the VMM"] = "qemu 1.0"
    record.write_text(json.dumps(document))
    stale = loop()
    assert (stale["status"], stale["reason"]) == (
        "stale",
        f"changed since: the VMM; run: pyro prepare {ENVIRONMENT}",
    )
    again = pyro_json("prepare", ENVIRONMENT)
    assert (again["status"], again["reused"], again["reason"]) == (
        "warm",
        False,
        "changed since: the VMM",
    )

    assert pyro("host", "connect", "opencode", "--environment", ENVIRONMENT).returncode == 0
    config = tmp_path / "home" / ".config" / "opencode"
    (written,) = config.iterdir()
    command = json.loads(written.read_bytes())["mcp"]["pyro"]["command"]
    assert command[-2:] == ["--environment", ENVIRONMENT]
    before = written.read_bytes()
    assert pyro("host", "connect", "opencode", "--environment", ENVIRONMENT).returncode == 0
    assert written.read_bytes() == before
    day(tmp_path)


def day(place: Path) -> None:
    repo = make_repo(place / "repo")
    made = pyro_json("workspace", "create", "debian:12", "--seed-path", str(repo), "--name", "day")
    assert made["state"] == "started"
    assert pyro("workspace", "exec", "day", "--", TEST).returncode == 1
    (place / "fix.patch").write_text(PATCH)
    assert pyro("workspace", "patch", "apply", "day", "--patch-file", str(place / "fix.patch")).returncode == 0
    assert pyro("workspace", "exec", "day", "--", TEST).returncode == 0
    assert pyro_json("workspace", "stop", "day")["state"] == "stopped"
    assert pyro_json("workspace", "start", "day")["state"] == "started"
    assert "+    return sum(values) / len(values)" in pyro_json("workspace", "diff", "day")["patch"]
    assert pyro_json("workspace", "reset", "day")["reset_count"] == 1
    assert pyro_json("workspace", "diff", "day")["changed"] is False
    assert pyro("workspace", "delete", "day").returncode == 0
    assert pyro_json("workspace", "list")["count"] == 0
