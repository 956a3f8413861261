"""The command line: what is typed, what comes out, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import __version__
from pyro_mcp.cli.main import main
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.profiles import MODES, PROFILES
from tests.support.fake_runner import VM_ID, exec_result, vm_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.operations.operation import Call, Operation

    Answer = Callable[[Operation[Any, Any], Any, Call], Any]
Capture = pytest.CaptureFixture[str]


def raising(error: Exception) -> Any:
    def answer(*_: object) -> None:
        raise error

    return answer


def test_the_version_is_one_line(capfd: Capture) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"pyro {__version__}\n"


def test_help_names_every_command_and_goes_to_stdout(capfd: Capture) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    for words in ("run", "env list", "vm network-info", "mcp serve", "completion"):
        assert f"  {words} " in out


def test_help_begins_with_the_way_from_zero(capfd: Capture) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    steps = [out.index(f"  pyro {words}") for words in ("doctor", "prepare", "run", "host connect", "mcp serve")]
    assert steps == sorted(steps)
    assert steps[-1] < out.index("commands:")


def test_the_servers_help_says_what_each_profile_and_mode_is_for(capfd: Capture) -> None:
    assert main(["mcp", "serve", "--help"]) == 0
    out = capfd.readouterr().out
    for name in (*PROFILES, *MODES):
        assert f"\n  {name:<15} " in out
    for option in ("--project-path", "--repo-url", "--no-project-source"):
        assert option in out.partition("examples:")[2]
    assert main(["host", "connect", "--help"]) == 0
    # Lines may end after the hyphen of a name.
    connecting = "".join(capfd.readouterr().out.split())
    assert "workspace-core(default),workspace-full,vm-runorvm-full" in connecting
    assert "repro-fix,inspect,cold-startorreview-eval" in connecting


def test_pyro_alone_is_bad_usage_and_shows_help(capfd: Capture) -> None:
    assert main([]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: pyro")


def test_a_group_shows_its_commands(capfd: Capture) -> None:
    assert main(["env", "--help"]) == 0
    assert "  prune " in capfd.readouterr().out
    assert main(["env"]) == 2


def test_a_commands_help_shows_options_bounds_units_and_defaults(capfd: Capture) -> None:
    assert main(["run", "--help"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert out.startswith("usage: pyro run ENVIRONMENT [options] -- COMMAND…")
    assert "--mem-mib N Memory in MiB. (256 to 65536 MiB; default: 1024)" in out
    assert "--require-kvm" in out


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["runn"], "pyro has no command 'runn'", "Did you mean run?"),
        (["env", "lst"], "pyro env has no command 'lst'", "Did you mean list?"),
        (["--verbose"], "unknown option --verbose", "pyro --help"),
        (["run"], "missing ENVIRONMENT", "pyro run --help"),
        (["run", "debian:12"], "missing command", "Put it at the end, after --."),
        (["run", "debian:12", "--"], "missing command", "Put it at the end, after --."),
        (["run", "debian:12", "--", ""], "COMMAND is empty", "shell command line"),
        (["run", "debian:12", "--memory-mib", "1", "--", "x"], "unknown option --memory-mib", "--mem-mib"),
        (["run", "debian:12", "--vcpu", "1", "--", "x"], "unknown option --vcpu", "--vcpu-count"),
        (["run", "debian:12", "--mem-mib", "0", "--", "x"], "--mem-mib is 0", "256 to 65536"),
        (["run", "debian:12", "--mem-mib", "-5", "--", "x"], "--mem-mib is -5", "256 to 65536"),
        (["run", "debian:12", "--mem-mib", "1G", "--", "x"], "'1G' is not a whole number", "pyro run --help"),
        (["run", "debian:12", "--mem-mib", "--", "x"], "--mem-mib", "pyro run --help"),
        (["run", "Debian 12", "--", "x"], "ENVIRONMENT is 'Debian 12'", "debian:12"),
        (["vm", "status", "x"], "VM_ID is 'x'", "vm create"),
        (["vm", "status", VM_ID, VM_ID], "unexpected argument", "pyro vm status --help"),
        (["env", "list", "-x"], "unknown option -x", "pyro env list --help"),
        (["completion", "csh"], "SHELL is 'csh'", "bash, zsh or fish"),
    ],
)
def test_wrong_usage_names_the_argument_and_what_to_do(
    capfd: Capture, words: list[str], message: str, hint: str
) -> None:
    assert main(words) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[0]
    assert hint in captured.err.splitlines()[1]
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("words", [["env", "lst", "--json"], ["run", "--json", "--", "x"], ["--json", "nonsense"]])
def test_an_error_is_one_json_document_if_json_was_asked_for(capfd: Capture, words: list[str]) -> None:
    assert main(words) == 2
    document = json.loads(capfd.readouterr().out)
    assert document["ok"] is False
    assert set(document["error"]) == {"code", "message", "hint"}


def test_json_of_the_guests_command_is_not_ours(capfd: Capture) -> None:
    assert main(["run", "--", "x", "--json"]) == 2
    assert capfd.readouterr().out == ""


def test_a_failed_operation_ends_with_1_its_message_and_its_hint(capfd: Capture, runner: Any) -> None:
    runner(raising(PyroError(ErrorCode.NOT_FOUND, "there is no VM x", hint="List them with: pyro vm list")))
    assert main(["vm", "status", VM_ID]) == 1
    assert capfd.readouterr().err == "error: there is no VM x\nhint:  List them with: pyro vm list\n"
    assert main(["vm", "status", VM_ID, "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "not_found"


def test_an_error_can_not_drive_the_terminal(capfd: Capture, runner: Any) -> None:
    runner(raising(PyroError(ErrorCode.GUEST_LOST, "the guest said: \x1b]0;owned\x07\x9b2J")))
    assert main(["vm", "status", VM_ID]) == 1
    err = capfd.readouterr().err
    assert "\x1b" not in err
    assert "\x9b" not in err


def test_a_bug_is_one_message_and_no_traceback(capfd: Capture, runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner(raising(ZeroDivisionError("division by zero")))
    assert main(["vm", "list"]) == 1
    err = capfd.readouterr().err
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    monkeypatch.setenv("PYRO_DEBUG", "1")
    assert main(["vm", "list"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_an_os_error_names_its_file(capfd: Capture, runner: Any) -> None:
    runner(raising(PermissionError(13, "Permission denied", "/somewhere")))
    assert main(["vm", "list"]) == 1
    assert "could not use /somewhere: Permission denied" in capfd.readouterr().err


def test_a_result_is_shown_to_a_person_or_as_json(capfd: Capture, runner: Any) -> None:
    runner(vm_result())
    assert main(["vm", "create", "debian:12", "--mem-mib", "2048", "--network"]) == 0
    assert f"vm id: {VM_ID}\n" in capfd.readouterr().out
    assert main(["vm", "status", VM_ID, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["vm_id"] == VM_ID


def test_options_reach_the_request(runner: Any) -> None:
    fake = runner(vm_result())
    main(["vm", "create", "debian:12", "--mem-mib", "2048", "--network", "--ttl-seconds", "5"])
    name, request = fake.asked[0]
    assert name == "vm_create"
    assert (request.mem_mib, request.network, request.ttl_seconds, request.vcpu_count) == (2048, True, 5, 1)


@pytest.mark.parametrize(
    ("after", "command"),
    [
        (["echo a; echo b"], "echo a; echo b"),
        (["echo", "a b", "", "$(x)"], ("echo", "a b", "", "$(x)")),
        (["--", "x"], ("--", "x")),
        (["ls", "--json"], ("ls", "--json")),
        (["-x"], "-x"),
    ],
)
def test_one_argument_is_a_shell_line_and_several_keep_their_boundaries(
    runner: Any, after: list[str], command: object
) -> None:
    fake = runner(exec_result())
    assert main(["run", "debian:12", "--", *after]) == 0
    assert fake.asked[0][1].command == command


@pytest.mark.parametrize(
    ("words", "command", "timeout"),
    [
        (["debian:12", "ls", "-l", "--json"], ("ls", "-l", "--json"), 30),
        (["--network", "debian:12", "--timeout-seconds", "5", "-e", "A=b", "echo", "a b"], ("echo", "a b"), 5),
        (["-eA=b", "debian:12", "echo a; echo b"], "echo a; echo b", 30),
    ],
)
def test_a_command_may_follow_without_dashes(runner: Any, words: list[str], command: object, timeout: int) -> None:
    fake = runner(exec_result())
    assert main(["run", *words]) == 0
    assert (fake.asked[0][1].command, fake.asked[0][1].timeout_seconds) == (command, timeout)


@pytest.mark.parametrize(
    ("exit_code", "timed_out", "status"), [(0, False, 0), (7, False, 7), (255, False, 255), (124, True, 124)]
)
def test_the_exit_status_is_the_guest_commands(runner: Any, exit_code: int, timed_out: bool, status: int) -> None:
    runner(exec_result(exit_code=exit_code, timed_out=timed_out))
    assert main(["run", "debian:12", "--", "x"]) == status


def test_what_pyro_could_not_run_ends_with_125(capfd: Capture, runner: Any) -> None:
    runner(raising(PyroError(ErrorCode.TIMEOUT, "waited 20 s for the guest's agent")))
    assert main(["run", "debian:12", "--", "x"]) == 125
    assert main(["vm", "exec", VM_ID, "--json", "--", "x"]) == 125
    captured = capfd.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "timeout"
    assert captured.err == "error: waited 20 s for the guest's agent\n"


def test_an_unexpected_failure_of_run_ends_with_125_too(runner: Any) -> None:
    runner(raising(OSError(28, "No space left on device")))
    assert main(["run", "debian:12", "--", "x"]) == 125
    runner(raising(ZeroDivisionError()))
    assert main(["run", "debian:12", "--", "x"]) == 125


@pytest.mark.parametrize("words", [["vm", "list"], ["run", "debian:12", "--", "x"]])
def test_an_interrupt_ends_with_130(capfd: Capture, runner: Any, words: list[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    runner(interrupted)
    assert main(words) == 130
    assert main([words[0], "--json", *words[1:]] if words[0] == "run" else [*words, "--json"]) == 130
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "cancelled"


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_do_no_harm_to_commands_that_show_progress(private_paths: Paths, closed: str) -> None:
    line = f'exec "$@" {closed}'
    argv = ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "pyro_mcp", "vm", "reap-expired"]
    assert subprocess.run(argv, check=False, timeout=60, capture_output=True).returncode == 0


def test_mcp_serve_with_stdin_closed_ends(private_paths: Paths) -> None:
    argv = ["/bin/sh", "-c", 'exec "$@" 0<&-', "sh", sys.executable, "-m", "pyro_mcp", "mcp", "serve"]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
