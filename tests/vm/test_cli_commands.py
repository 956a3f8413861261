"""What only the command line has, at one real guest: copies, processes, use of this host, logs that go on."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.person import at_a_terminal
from tests.support.pyro_cli import pyro, pyro_json, starting_pyro

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def ident() -> Generator[str]:
    """Create one workspace for all tests of this module."""
    made = pyro("workspace", "create", "debian:12", "--name", "cli", "-q").stdout.decode().strip()
    yield made
    assert pyro("ws", "rm", made).stdout.decode() == f"deleted {made}\n"


def output(*words: str) -> str:
    """Return what a command that works prints on stdout."""
    done = pyro(*words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def in_guest(ident: str, line: str) -> str:
    return output("ws", "exec", "-q", ident, "--", line)


def test_files_and_trees_go_in_and_out_at_any_path(ident: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    data = os.urandom(300_000)
    (tmp_path / "tree" / "sub" / "data").write_bytes(data)
    (tmp_path / "tool").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tool").chmod(0o755)
    assert output("cp", str(tmp_path / "tool"), f"{ident}:/usr/local/bin/tool").startswith("copied ")
    assert in_guest(ident, "tool") == "ran\n"
    output("cp", str(tmp_path / "tree"), "cli:~/tree")
    output("cp", str(tmp_path / "tool"), f"{ident}:relative")
    assert in_guest(ident, "stat -c %s ~/tree/sub/data; ls /workspace") == "300000\nrelative\n"
    document = pyro_json("cp", f"{ident}:~/tree", str(tmp_path / "back"))
    assert (document["entry_count"], document["bytes_written"]) == (2, 300_000)
    assert (tmp_path / "back" / "sub" / "data").read_bytes() == data
    # A directory takes it under its own name; nothing is overwritten.
    output("cp", f"{ident}:/usr/local/bin/tool", str(tmp_path / "back"))
    assert (tmp_path / "back" / "tool").stat().st_mode & 0o777 == 0o755
    refused = pyro("cp", f"{ident}:/etc/hostname", str(tmp_path / "tool"))
    assert refused.returncode == 1
    assert (tmp_path / "tool").read_text().startswith("#!")
    assert b"no-such" in pyro("cp", f"{ident}:/no-such", str(tmp_path / "none")).stderr
    assert pyro("cp", str(tmp_path / "tool"), str(tmp_path / "other")).returncode == 2


def test_top_shows_what_runs_as_the_guest_numbers_it(ident: str) -> None:
    pid = in_guest(ident, "setsid sleep 1234.5 > /dev/null 2>&1 & echo $!").strip()
    try:
        document = pyro_json("ws", "top", ident)
        (found,) = [each for each in document["processes"] if "sleep 1234.5" in each["command"]]
        assert (str(found["pid"]), found["uid"], found["state"]) == (pid, 0, "S")
        assert found["memory_kib"] > 100
        # The agent and what it keeps ready are no processes of the workload.
        assert all("pyro" not in each["command"] for each in document["processes"])
        assert pid in output("ws", "top", "-q", ident).split()
        assert "sleep 1234.5" in output("ws", "top", ident)
    finally:
        in_guest(ident, f"kill {pid}")


def test_stats_measure_the_vm_on_this_host(ident: str) -> None:
    in_guest(ident, "head -c 20000000 /dev/urandom > /var/big; sync")
    (found,) = [each for each in pyro_json("stats")["vms"] if each["workspace_id"] == ident]
    assert found["name"] == "cli"
    assert 50 * 2**20 < found["memory_bytes"] < 2 * found["memory_limit_bytes"]
    assert found["disk_bytes"] > 20_000_000
    assert found["cpu_s"] > 0
    assert found["cpu_percent"] >= 0
    assert ident in output("stats", "-q").split()
    with at_a_terminal("stats", cols=60, rows=20) as person:
        person.sees("MEMORY")
        person.sees("MEMORY")
        person.types("\x03")
        assert person.status() == 0
    assert max(len(line) for line in person.shown.decode().splitlines() if "\x1b" not in line) <= 60


def test_logs_go_on_until_they_are_left(ident: str) -> None:
    with at_a_terminal("ws", "logs", "-f", ident) as person:
        in_guest(ident, "echo first-$((1 + 1))")
        person.sees("first-2")
        in_guest(ident, "echo second-$((1 + 1))")
        person.sees("second-2")
        with starting_pyro("ws", "exec", ident, "--", "printf third-$((1 + 2)); until [ -e seen ]; do sleep 0.1; done"):
            person.sees("third-3")
            in_guest(ident, "touch seen")
            person.sees("until [ -e seen ]")
        person.types("\x03")
        assert person.status() == 130


def test_what_happens_to_a_workspace_takes_one_line() -> None:
    own = output("workspace", "create", "debian:12", "--name", "lines", "-q").strip()
    assert output("ws", "update", own, "--label", "a=1") == f"updated {own} (lines)\n"
    assert own in output("ps", "-q").split()
    in_guest(own, "echo text > file")
    assert output("ws", "diff", "--name-only", own) == "file\n"
    assert output("ws", "diff", "--stat", own).endswith("1 changed, +1 -0\n")
    assert output("ws", "stop", "lines") == f"stopped {own} (lines)\n"
    assert own not in output("ps", "-q").split()
    assert b"nothing runs" in pyro("ws", "top", own).stderr
    assert output("ws", "start", "lines") == f"started {own} (lines)\n"
    assert output("ws", "reset", "lines") == f"reset {own} (lines)\n"
    assert json.loads(output("ws", "diff", "--json", own))["changed"] is False
    missing = pyro("ws", "rm", own, "no-such-workspace")
    assert (missing.returncode, missing.stdout.decode()) == (1, f"deleted {own}\n")


def test_a_command_without_a_time_limit_and_one_that_runs_out_of_it(ident: str) -> None:
    assert in_guest(ident, "echo here") == "here\n"
    done = pyro("ws", "exec", "--timeout", "none", ident, "--", "echo there")
    assert done.stdout == b"there\n"
    late = pyro("ws", "exec", "--timeout", "1.5s", ident, "--", "sleep 60")
    assert late.returncode == 124
    assert (
        late.stderr.decode()
        .splitlines()[-1]
        .startswith("[exec] timed out: it was killed after its time limit of 1.5 s")
    )
