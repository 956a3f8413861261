"""The command line with real guests: what a user sees, the exit status, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from tests.style.test_start_up import HEAVY
from tests.support.pyro_cli import COMMAND, pyro, pyro_json, starting_pyro

pytestmark = pytest.mark.vm


def read_until(fd: int | None, text: bytes) -> bytes:
    assert fd is not None
    seen = b""
    while text not in seen:
        data = os.read(fd, 65536)
        assert data, seen
        seen += data
    return seen


def run_in_guest(*after: str, flags: tuple[str, ...] = (), stdin: bytes | None = None) -> process.Completed:
    return pyro("run", "debian:12", *flags, "--", *after, input=stdin)


class TestRun:
    def test_the_main_job_is_done_in_a_real_machine(self) -> None:
        done = run_in_guest("git", "--version")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"git version 2.")
        lines = done.stderr.decode().splitlines()
        phases = [line for line in lines if line.startswith("[run] phase=")]
        vm_id = lines[-2].rpartition("=")[2]
        assert phases[0] == "[run] phase=create environment=debian:12"
        assert f"[run] phase=start vm_id={vm_id}" in phases
        assert phases[-1] == f"[run] phase=execute vm_id={vm_id}"
        assert vm_id.startswith("vm_")
        assert lines[-1].startswith(
            "[run] environment=debian:12 execution_mode=guest_virtio_serial exit_code=0 duration_ms="
        )

    def test_streams_status_and_argument_boundaries_are_the_commands(self) -> None:
        code = (
            "import sys; sys.stdout.buffer.write(bytes(range(256))); print(sys.argv[1:], file=sys.stderr); sys.exit(9)"
        )
        done = run_in_guest("python3", "-c", code, "a b", "", "$(x)", "-y", "new\nline")
        assert done.returncode == 9
        assert done.stdout == bytes(range(256))
        assert b"['a b', '', '$(x)', '-y', 'new\\nline']\n" in done.stderr

    @pytest.mark.parametrize(
        ("caller", "status"),
        [
            ("trap '' CHLD", 7),
            ("trap '' HUP", 7),
            ('mkdir "$0" && cd "$0" && rmdir "$0"', 7),
            ("ulimit -n 32", 125),
            ("ulimit -v 400000", 125),
        ],
    )
    def test_an_odd_caller_gets_its_answer_and_leaves_the_template_alone(
        self, tmp_path: Path, caller: str, status: int
    ) -> None:
        templates = Paths.from_environment().templates
        run_in_guest("true")
        before = sorted(os.listdir(templates))
        argv = ["/bin/sh", "-c", f'{caller} || exit 99; exec "$@"', tmp_path / "gone", *COMMAND]
        done = process.run([*argv, "run", "debian:12", "--", "exit 7"], timeout_s=120, check=False)
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"ulimit" in done.stderr or status == 7
        assert sorted(os.listdir(templates)) == before

    def test_one_argument_is_a_line_for_the_shell(self) -> None:
        assert run_in_guest('echo "$((6 * 7))" | rev; exit 4').stdout == b"24\n"

    def test_a_pipe_into_pyro_is_the_commands_stdin(self) -> None:
        data = os.urandom(3_000_000)
        done = run_in_guest("cat", stdin=data)
        assert done.returncode == 0, done.stderr
        assert done.stdout == data

    def test_a_command_past_its_timeout_ends_with_124(self) -> None:
        done = run_in_guest("echo begun; sleep 100", flags=("--timeout-seconds", "1"))
        assert done.returncode == 124
        assert done.stdout == b"begun\n"
        assert b" exit_code=124 " in done.stderr

    def test_a_program_that_is_not_there_ends_as_in_a_shell(self) -> None:
        assert run_in_guest("no-such-program", "x").returncode == 127
        assert run_in_guest("/etc/passwd", "x").returncode == 126

    def test_json_is_one_document_with_everything(self) -> None:
        document = pyro_json("run", "debian:12", "--", "sh", "-c", "echo out; echo err >&2")
        assert document["stdout"] == "out\n"
        assert document["stderr"] == "err\n"
        assert document["command"] == "sh -c 'echo out; echo err >&2'"
        assert document["execution_mode"] == "guest_virtio_serial"
        assert document["isolation"] in {"kvm", "tcg"}

    def test_output_comes_while_the_command_runs(self) -> None:
        with starting_pyro(
            "run", "debian:12", "--", "echo first; cat /dev/zero | head -c 1 > /dev/null; sleep 50"
        ) as child:
            read_until(child.stdout, b"first\n")
            assert child.poll() is None
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 130

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("phase", ["create", "start", "execute"])
    def test_a_signal_in_any_phase_ends_with_130_and_leaves_nothing(self, phase: str, number: int) -> None:
        with starting_pyro("run", "debian:12", "--", "sleep", "100") as child:
            read_until(child.stderr, f"phase={phase}".encode())
            child.send_signal(number)
            child.send_signal(number)
            assert child.wait(30) == 130
        assert pyro_json("vm", "list")["count"] == 0

    def test_a_reader_that_goes_away_ends_the_command(self) -> None:
        with starting_pyro("run", "debian:12", "--", "yes") as child:
            read_until(child.stdout, b"y\n")
            assert child.stdout is not None
            os.close(child.stdout)
            child.stdout = None
            assert child.wait(30) == 141

    def test_ten_runs_at_once_do_not_disturb_each_other(self) -> None:
        def echo(number: int) -> process.Completed:
            return run_in_guest("echo", str(number))

        with ThreadPoolExecutor(10) as pool:
            done = list(pool.map(echo, range(10)))
        assert [each.stdout for each in done] == [f"{number}\n".encode() for number in range(10)]
        assert {each.returncode for each in done} == {0}

    def test_an_unknown_environment_is_pyros_failure(self) -> None:
        done = pyro("run", "debian:99", "--", "true")
        assert done.returncode == 125
        assert b"there is no environment debian:99" in done.stderr
        assert b"hint:" in done.stderr

    def test_a_run_loads_nothing_heavy(self) -> None:
        code = "import sys; from pyro_mcp.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
        command = [sys.executable, "-c", code, "run", "debian:12", "--", "true"]
        loaded = set(process.run(command, timeout_s=110).text.split())
        assert "pyro_mcp.workspace.vms.run" in loaded
        assert loaded & HEAVY == set()

    def test_a_flood_passes_through_and_memory_stays_bounded(self) -> None:
        flood = ("run", "debian:12", "--timeout-seconds", "100", "--", "head -c 140000000 /dev/zero")
        peak_kib = 0
        with starting_pyro(*flood) as child:
            assert child.stdout is not None
            # Not getrusage(2): it includes the VMM, which the keeper has waited for.
            while os.read(child.stdout, 1 << 20):
                status = Path(f"/proc/{child.pid}/status").read_text()
                peak_kib = max(peak_kib, *map(int, re.findall(r"VmHWM:\s+(\d+)", status)), 0)
            assert child.wait(30) == 0
        assert 0 < peak_kib < 80 * 1024

    def test_a_reader_that_pauses_holds_the_command_up_and_loses_nothing(self) -> None:
        with starting_pyro("run", "debian:12", "--", "head -c 5000000 /dev/zero | tr '\\0' x; echo end") as child:
            # Nobody reads until the phase is known and the pipe is full.
            read_until(child.stderr, b"phase=execute")
            seen = read_until(child.stdout, b"end\n")
            assert len(seen) == 5_000_004
            assert child.wait(30) == 0


class TestEnvironments:
    def test_an_installed_environment_is_listed_and_described(self) -> None:
        listed = {each["name"]: each for each in pyro_json("env", "list")["environments"]}
        assert listed["debian:12"]["state"] == "installed"
        assert {"debian:12-base", "debian:12-build", "debian:13"} <= set(listed)
        shown = pyro_json("env", "inspect", "debian:12")
        assert shown["digest"] == listed["debian:12"]["digest"]
        assert {"git", "python3", "ca-certificates", "curl"} <= set(shown["packages"])
        assert shown["install_manifest"]

    def test_pulling_what_is_there_changes_nothing(self) -> None:
        before = pyro_json("env", "pull", "debian:12")
        assert not before["outdated"]
        assert pyro_json("env", "pull", "debian:12") == before

    def test_an_unknown_environment_is_an_error_that_names_the_known_ones(self) -> None:
        done = pyro("env", "pull", "debian:99", "--json")
        assert done.returncode == 1
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "not_found"
        assert "debian:12" in error["message"]


class TestLife:
    def test_a_vm_lives_step_by_step_across_processes(self) -> None:
        created = pyro_json("vm", "create", "debian:12")
        vm_id = created["vm_id"]
        assert created["state"] == "created"
        assert pyro_json("vm", "start", vm_id)["state"] == "started"
        assert [vm["vm_id"] for vm in pyro_json("vm", "list")["vms"]] == [vm_id]
        assert pyro_json("vm", "network-info", vm_id)["network_enabled"] is False
        assert pyro_json("vm", "stop", vm_id)["state"] == "stopped"
        assert pyro_json("vm", "start", vm_id)["state"] == "started"
        executed = pyro("vm", "exec", vm_id, "--", "grep -c MemTotal /proc/meminfo; exit 5")
        assert executed.returncode == 5
        assert executed.stdout == b"1\n"
        assert b"[exec] environment=debian:12" in executed.stderr
        gone = pyro("vm", "status", vm_id, "--json")
        assert gone.returncode == 1
        assert json.loads(gone.stdout)["error"]["code"] == "not_found"

    def test_a_vm_past_its_time_is_cleared_away(self) -> None:
        vm_id = pyro_json("vm", "create", "debian:12", "--ttl-seconds", "1")["vm_id"]
        seen: set[str] = set()
        while vm_id not in seen:
            seen |= set(pyro_json("vm", "reap-expired")["deleted_vm_ids"])
        assert pyro("vm", "status", vm_id).returncode == 1

    def test_deleting_leaves_nothing(self) -> None:
        vm_id = pyro_json("vm", "create", "debian:12")["vm_id"]
        pyro_json("vm", "start", vm_id)
        assert pyro("vm", "delete", vm_id).stdout == f"deleted {vm_id}\n".encode()
        assert pyro("vm", "delete", vm_id).returncode == 1


class TestMachine:
    def test_doctor_proves_by_booting(self) -> None:
        report = pyro_json("doctor")
        assert report["runtime_ok"] is True
        assert report["acceleration"]["proven_by_boot"] is True
        assert report["runtime"]["capabilities"]["supports_vm_boot"] is True
        assert report["runtime"]["capabilities"]["supports_guest_exec"] is True
        assert report["environment"]["state"] == "installed"
        assert report["vmm"]["kind"] == "qemu"
        assert all(problem["hint"] for problem in report["problems"])

    def test_prepare_is_done_once_and_reused_until_forced(self) -> None:
        pyro_json("prepare", "debian:12", "--force")
        again = pyro_json("prepare", "debian:12")
        assert (again["prepared"], again["reused"], again["status"]) == (True, True, "warm")
        assert min(again[f"{verb}_ms"] for verb in ("create", "exec", "reset", "delete")) > 0
        assert pyro_json("doctor")["daily_loop"]["status"] == "warm"

    def test_the_demo_shows_a_whole_life(self) -> None:
        shown = pyro_json("demo")
        assert shown["exit_code"] == 0
        assert shown["stdout"].endswith("42\n")
        assert shown["cleanup"] == {"vm_id": shown["vm_id"], "deleted": True, "reason": "post_exec_cleanup"}
