"""The commands about workspaces: what is typed becomes the request that was meant, and results read well."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.cli.main import main
from pyro_mcp.operations.parameters import NoteResult
from pyro_mcp.operations.table import all_operations
from pyro_mcp.operations.workspaces.review import HostHookResult
from tests.support.workspace_results import (
    WORKSPACE_ID,
    diff,
    exec_result,
    file_read,
    file_written,
    logged,
    logs,
    seed,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fake_runner import FakeRunner

Capture = pytest.CaptureFixture[str]


def asked(fake: FakeRunner) -> Any:
    return fake.asked[-1][1]


def test_create_takes_every_option_of_the_contract(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    fake = runner(workspace())
    words = (
        "workspace create debian:12 --vcpu-count 2 --mem-mib 512 --ttl-seconds 60 --network-policy egress"
        " --allow-host-compat --seed-path /src/app --name mend --label a=1 --label b=c=d --id-only"
    )
    assert main(words.split()) == 0
    assert capfd.readouterr().out == f"{WORKSPACE_ID}\n"
    request = asked(fake)
    assert (request.vcpu_count, request.mem_mib, request.ttl_seconds, request.network_policy) == (2, 512, 60, "egress")
    assert (request.seed_path, request.name, request.labels) == ("/src/app", "mend", {"a": "1", "b": "c=d"})
    assert request.allow_host_compat is True


def test_secrets_are_given_by_value_and_by_file(runner: Callable[[Any], FakeRunner]) -> None:
    fake = runner(workspace())
    assert main(["workspace", "create", "debian:12", "--secret", "A=b=c", "--secret-file", "D=/e"]) == 0
    assert asked(fake).secrets == ({"name": "A", "value": "b=c"}, {"name": "D", "file_path": "/e"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "debian:12", "--label", "a"], "--label is 'a'"),
        (["create", "debian:12", "--label", "=a"], "--label is '=a'"),
        (["create", "debian:12", "--label", "a=1", "--label", "a=2"], "--label gives 'a' twice"),
        (["create", "debian:12", "--secret", "value"], "--secret has no name or no value"),
        (["create", "debian:12", "--network-policy", "all"], "--network-policy is 'all'"),
        (["create", "debian:12", "--ttl-seconds", "0"], "--ttl-seconds is 0"),
        (["file", "write", "w", "x"], "one of the arguments --text --text-file is required"),
        (["file", "write", "w", "x", "--text", "a", "--text-file", "b"], "not allowed with"),
        (["status", "../x"], "WORKSPACE_ID is '../x'"),
        (["status", ""], "WORKSPACE_ID is ''"),
        (["logs", "w", "--sequence", "0"], "--sequence is 0"),
        (["snapshot", "create", "w"], "missing NAME"),
        (["export", "w", "a"], "missing --output"),
        (["fil"], "pyro workspace has no command 'fil'"),
        (["file", "rea"], "pyro workspace file has no command 'rea'"),
    ],
)
def test_wrong_usage_is_status_two_and_names_the_argument(capfd: Capture, words: list[str], message: str) -> None:
    assert main(["workspace", *words]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[0]
    assert "hint:" in captured.err


def test_a_group_and_the_groups_in_it_show_their_commands(capfd: Capture) -> None:
    assert main(["workspace", "--help"]) == 0
    out = capfd.readouterr().out
    assert "  create " in out
    assert "  file read " in out
    assert main(["workspace", "file", "--help"]) == 0
    assert "  read " in capfd.readouterr().out
    assert main(["workspace", "file"]) == 2


@pytest.mark.parametrize(
    "row", [row for row in all_operations() if row.cli and row.cli[0] == "workspace"], ids=lambda row: row.name
)
def test_every_command_has_help_that_shows_its_options(row: Any, capfd: Capture) -> None:
    assert main([*row.cli, "--help"]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"usage: pyro {' '.join(row.cli)} WORKSPACE_ID") or row.name in {
        "workspace_create",
        "workspace_list",
    }
    assert "--json" in out


def test_text_comes_from_the_command_line_a_file_or_stdin(
    runner: Callable[[Any], FakeRunner], tmp_path: Path, capfd: Capture
) -> None:
    fake = runner(file_written())
    text = tmp_path / "text"
    text.write_bytes("ä\r\n".encode())
    assert main(["workspace", "file", "write", "w", "x", "--text-file", str(text)]) == 0
    assert asked(fake).text == "ä\r\n"
    assert main(["workspace", "file", "write", "w", "x", "--text", "y"]) == 0
    assert asked(fake).text == "y"
    text.write_bytes(b"\xff")
    capfd.readouterr()
    assert main(["workspace", "file", "write", "w", "x", "--text-file", str(text)]) == 1
    assert "is not UTF-8 text" in capfd.readouterr().err
    assert main(["workspace", "patch", "apply", "w", "--patch-file", str(tmp_path / "none")]) == 1
    assert "No such file" in capfd.readouterr().err


def test_content_ends_with_its_own_line_unless_it_is_asked_for_alone(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    runner(file_read("a\r\nb"))
    assert main(["workspace", "file", "read", "w", "x"]) == 0
    captured = capfd.readouterr()
    assert captured.out == "a\r\nb\n"
    assert (
        captured.err
        == f"[workspace-file-read] workspace_id={WORKSPACE_ID} path=/workspace/x size_bytes=4 truncated=no\n"
    )
    assert main(["workspace", "file", "read", "w", "x", "--content-only"]) == 0
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("a\r\nb", "")


def test_a_diff_is_the_patch_byte_by_byte_and_the_rest_is_said_beside(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    runner(diff())
    assert main(["workspace", "diff", "w"]) == 0
    captured = capfd.readouterr()
    assert captured.out == diff().patch
    assert "not in the patch: added logo.png (not text)" in captured.err
    assert f"[workspace-diff] workspace_id={WORKSPACE_ID} total=2 added=" in captured.err
    assert main(["workspace", "diff", "w", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["patch"] == diff().patch


def test_a_diff_can_be_shown_as_names_or_as_numbers_of_lines(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    runner(diff(truncated=True))
    assert main(["workspace", "diff", "w", "--name-only"]) == 0
    captured = capfd.readouterr()
    assert captured.out == "a\nlogo.png\n"
    assert captured.err == "[diff] only the first 2 of 2 changed files are listed\n"
    runner(diff())
    assert main(["workspace", "diff", "w", "--stat"]) == 0
    captured = capfd.readouterr()
    assert captured.out == "modified a  +1 -1\nadded    logo.png  not text\n2 changed, +2 -2\n"
    assert captured.err == ""
    assert main(["workspace", "diff", "w", "--stat", "--name-only"]) == 2


def test_files_that_a_host_tool_would_run_are_named_before_anything_else(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    hooks = (
        HostHookResult(".envrc", "direnv", kept=False, is_instruction=False),
        HostHookResult(".husky/x", "husky", kept=True, is_instruction=False),
        HostHookResult("AGENTS.md", "an agent", kept=True, is_instruction=True),
    )
    runner(diff(host_hook_count=4, host_hooks=hooks))
    assert main(["workspace", "diff", "w"]) == 0
    assert capfd.readouterr().err.split("\n")[:4] == [
        "skipped: .envrc: direnv would run it automatically (--include-host-hooks includes it)",
        "note: .husky/x is included: husky runs it automatically",
        "note: AGENTS.md is included: agents follow what it says",
        "… and 1 more files like these",
    ]


def test_logs_show_each_command_with_its_outcome_and_output(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    runner(
        logs(
            logged(
                sequence=2, command="pytest -q", exit_code=1, stdout="1 failed\n", stderr="x", stdout_truncated=True
            ),
            logged(sequence=4, command="echo 'a b'", stdout="a b\n"),
            logged(sequence=6, command="sleep 9", exit_code=124, timed_out=True),
            logged(sequence=8, command="x", exit_code=None, error="the guest was lost"),
        )
    )
    assert main(["workspace", "logs", "w"]) == 0
    captured = capfd.readouterr()
    assert captured.out.splitlines() == [
        "#2 2026-09-21T10:00:00.000Z [exit 1, 12 ms] pytest -q",
        "1 failed",
        "x",
        "#4 2026-09-21T10:00:00.000Z [exit 0, 12 ms] echo 'a b'",
        "a b",
        "#6 2026-09-21T10:00:00.000Z [timed out, 12 ms] sleep 9",
        "#8 2026-09-21T10:00:00.000Z [the guest was lost] x",
    ]
    assert f"pyro workspace logs {WORKSPACE_ID} --sequence 2" in captured.err


def answers_zero(_operation: object, _request: object, _call: object) -> object:
    return exec_result(exit_code=0)


def test_exec_takes_variables_from_options_files_and_its_own_environment(
    runner: Callable[[Any], FakeRunner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=of the file\nB=b=c\n")
    monkeypatch.setenv("HERE", "own")
    monkeypatch.delenv("NOWHERE", raising=False)
    fake = runner(answers_zero)
    options = ["-e", "A=1", "--env", "HERE", "-e", "NOWHERE", "-e", "EMPTY=", "--env-file", str(file), "-w", "src"]
    assert main(["workspace", "exec", "w", *options, "--", "true"]) == 0
    assert asked(fake).env == {"A": "1", "B": "b=c", "HERE": "own", "EMPTY": ""}
    assert asked(fake).cwd == "src"
    assert main(["workspace", "exec", "w", "-e", "=hunter-2", "--", "true"]) == 2
    assert "hunter-2" not in capfd.readouterr().err


def test_exec_streams_and_ends_with_the_commands_status(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    taken: list[int | None] = []

    def answer(_operation: object, _request: object, call: Any) -> object:
        taken.append(call.stdin)
        return exec_result(exit_code=7)

    fake = runner(answer)
    assert main(["workspace", "exec", "w", "--secret-env", "A", "--secret-env", "B=C", "--", "echo", "a b"]) == 7
    assert asked(fake).command == ("echo", "a b")
    assert asked(fake).secret_env == {"A": "A", "B": "C"}
    assert (
        f"[workspace-exec] workspace_id={WORKSPACE_ID} sequence=2 cwd=/workspace execution_mode="
        in capfd.readouterr().err
    )
    assert main(["workspace", "exec", "w", "-i", "--", "cat"]) == 7
    assert taken == [None, 0]


def test_a_workspace_is_shown_with_what_was_left_out_of_its_seed(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    ignored = {"ignored_count": 2, "ignored_bytes": 2048, "largest_ignored": (NoteResult("out", "0.0 MiB in 1 file"),)}
    runner(workspace(workspace_seed=seed(**ignored, notes=("History: the last 50 commits.",))))
    assert main(["workspace", "status", "w"]) == 0
    captured = capfd.readouterr()
    assert "workspace id: " + WORKSPACE_ID in captured.out
    assert "seed: /src/app (12 entries, 1.0 KiB)" in captured.out
    assert "2 ignored files left out (2.0 KiB; largest: out, 0.0 MiB in 1 file)" in captured.err
    assert "\nHistory: the last 50 commits.\n" in captured.err
    assert "labels: a=1" in captured.out
    assert "1 skipped in the seed:\n  run/sock^[[2J: a socket" in captured.err


def on_a_terminal(fd: int) -> bool:
    return fd == 1


def narrow(_fd: int) -> os.terminal_size:
    return os.terminal_size((80, 24))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (file_read("a\x1b]52;c;x\x07\u202eb"), ["file", "read", "w", "x"]),
        (file_read("a\x1b]52;c;x\x07\u202eb"), ["file", "read", "w", "x", "--content-only"]),
        (logs(logged(stdout="a\x1b]52;c;x\x07\u202eb")), ["logs", "w"]),
        (diff(patch="+a\x1b]52;c;x\x07\u202eb\n"), ["diff", "w"]),
    ],
    ids=["read", "content only", "logs", "diff"],
)
def test_what_a_guest_wrote_can_not_drive_a_terminal(
    runner: Callable[[Any], FakeRunner], capfd: Capture, monkeypatch: pytest.MonkeyPatch, result: Any, words: list[str]
) -> None:
    runner(result)
    monkeypatch.setattr(os, "isatty", on_a_terminal)
    monkeypatch.setattr(os, "get_terminal_size", narrow)
    assert main(["workspace", *words]) == 0
    out = capfd.readouterr().out
    assert "a^[]52;c;x^G\\u202eb" in out
    assert "\x07" not in out
