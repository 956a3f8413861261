"""Descriptors, processes or inodes are used up (fault 10): what runs can be stopped, the rest names the remedy."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.process.identity import thread_count

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

_USER = 54321


class Caller:
    """Somebody who runs `pyro` with directories of their own, and commands on this host instead of in guests."""

    def __init__(self, place: Path, prefix: Sequence[str] = ()) -> None:
        self._prefix = list(prefix)
        self._env = {**os.environ, "PYRO_VMM": "none", "HOME": os.fspath(place)}
        for name in ("STATE_DIR", "RUNTIME_DIR", "ENVIRONMENT_CACHE_DIR"):
            (place / name).mkdir(0o700)
            self._env[f"PYRO_{name}"] = os.fspath(place / name)

    def run(self, *words: str, limits: Sequence[str] = ()) -> dict[str, Any]:
        """Return the document of `pyro … --json`."""
        at = words.index("--") if "--" in words else len(words)
        pyro = [sys.executable, "-m", "pyro_mcp", *words[:at], "--json", *words[at:]]
        limited = ["prlimit", *limits] if limits else []
        done = process.run([*self._prefix, *limited, *pyro], env=self._env, timeout_s=60, check=False)
        assert b"Traceback" not in done.stderr
        return json.loads(done.stdout)

    def create(self, name: str) -> None:
        assert "error" not in self.run("workspace", "create", "debian:12", "--name", name, "--allow-host-compat")

    def end_all(self) -> None:
        for each in self.run("workspace", "list")["workspaces"]:
            self.run("workspace", "delete", each["workspace_id"])


@pytest.fixture
def caller(tmp_path: Path) -> Generator[Caller]:
    found = Caller(tmp_path)
    yield found
    found.end_all()


def test_without_descriptors_everything_that_runs_can_be_used_stopped_and_deleted(caller: Caller) -> None:
    caller.create("a")
    caller.create("b")
    few = ["--nofile=16:16"]
    for words in (
        ("workspace", "list"),
        ("workspace", "status", "a"),
        ("workspace", "exec", "a", "--", "true"),
        ("workspace", "stop", "a"),
        ("workspace", "delete", "b"),
        ("vm", "reap-expired"),
        ("env", "list"),
    ):
        assert "error" not in caller.run(*words, limits=few), words
    error = caller.run("workspace", "start", "a", limits=few)["error"]
    assert (error["code"], "ulimit -n" in error["hint"]) == ("unavailable", True)
    assert "error" not in caller.run("workspace", "start", "a")


@pytest.fixture
def ordinary(tmp_path: Path) -> Generator[Caller]:
    """Return an ordinary user: nothing limits the number of root's processes."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        # It may still read what this interpreter is made of, wherever that is.
        only = "-all,+dac_override"
        prefix = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
        prefix += [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
    place = tmp_path / "home"
    place.mkdir(0o700)
    found = Caller(place, prefix)
    if prefix:
        for path in (place, *place.iterdir()):
            shutil.chown(path, _USER, _USER)
    yield found
    found.end_all()


def test_without_processes_everything_that_runs_can_be_used_stopped_and_deleted(ordinary: Caller) -> None:
    ordinary.create("a")
    ordinary.create("b")
    count = thread_count(_USER if os.geteuid() == 0 else os.geteuid()) + 1
    none = [f"--nproc={count}:{count}"]
    for words in (
        ("workspace", "list"),
        ("workspace", "status", "a"),
        ("workspace", "exec", "a", "--", "true"),
        ("workspace", "stop", "a"),
        ("workspace", "delete", "b"),
        ("vm", "reap-expired"),
        ("env", "list"),
    ):
        assert "error" not in ordinary.run(*words, limits=none), words
    error = ordinary.run("workspace", "start", "a", limits=none)["error"]
    assert (error["code"], "ulimit -u" in error["hint"]) == ("unavailable", True)
    assert "error" not in ordinary.run("workspace", "start", "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_without_inodes_everything_that_runs_can_be_used_stopped_and_deleted(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=300,mode=0700", "tmpfs", place], timeout_s=30)
    try:
        caller = Caller(place)
        caller.create("a")
        caller.create("b")
        # The first use of the cache makes its directories.
        caller.run("env", "prune")
        for words in (
            ("workspace", "list"),
            ("workspace", "status", "a"),
            ("workspace", "stop", "a"),
            ("workspace", "delete", "b"),
            ("vm", "reap-expired"),
            ("env", "list"),
            ("env", "prune"),
        ):
            _take_inodes(place)
            assert "error" not in caller.run(*words), words
        _take_inodes(place)
        error = caller.run("workspace", "start", "a")["error"]
        assert (error["code"], "no free inodes" in error["message"]) == ("no_space", True)
        for path in place.glob("filler-*"):
            path.unlink()
        assert "error" not in caller.run("workspace", "start", "a")
        caller.end_all()
    finally:
        process.run(["umount", place], timeout_s=30)


def _take_inodes(place: Path) -> None:
    with suppress(OSError):
        while True:
            (place / f"filler-{os.urandom(8).hex()}").touch()
