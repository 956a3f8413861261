"""The one file that has the values, and what is done with them on the host."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.agent import Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import open_regular
from pyro_mcp.model.workspace import SecretKind
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.secrecy import error_without_secrets, secrets_given, without_secrets
from pyro_mcp.operations.workspaces.commands import LoggedCommand, WorkspaceLogsResult
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.commands.logs import logs_workspace
from pyro_mcp.workspace.machines.command import CommandStreams, GuestCommand
from pyro_mcp.workspace.secrets import keeping
from pyro_mcp.workspace.secrets.keeping import keep_secrets, redactor_for, secret_variables, secrets_of
from pyro_mcp.workspace.secrets.output import RedactedOutput
from pyro_mcp.workspace.secrets.values import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.commands.exec import WorkspaceExecution
    from pyro_mcp.workspace.secrets.redactor import Redactor
    from tests.support.host_fixture import HostFixture

VALUE = "v4lue/of é that\nis long"
SECRETS = (Secret("TOKEN", SecretKind.LITERAL, VALUE), Secret("ZERO", SecretKind.FILE, "with\0zero"))


@pytest.fixture
def workspace(yard: HostFixture) -> Workspace:
    """Return a workspace whose record and directory say that it has secrets, with a guest that was not given any."""
    made = yard.workspace()
    keep_secrets(yard.disks(made), SECRETS)
    sources = tuple(each.source for each in SECRETS)
    return yard.engine.store.workspaces.update(made.id, lambda now: replace(now, secrets=sources))


def run(yard: HostFixture, workspace: Workspace, command: str | tuple[str, ...], **more: Any) -> WorkspaceExecution:
    return exec_workspace(yard.engine, workspace.id, GuestCommand(command, 30), **more)


def test_the_file_is_its_owners_and_the_record_knows_names_alone(yard: HostFixture, workspace: Workspace) -> None:
    path = yard.disks(workspace).secrets
    assert path.stat().st_mode & 0o777 == 0o600
    assert secrets_of(yard.engine.paths, workspace) == SECRETS
    again = yard.another_engine().store.workspaces.get(workspace.id)
    assert [(each.name, each.kind) for each in again.secrets] == [("TOKEN", "literal"), ("ZERO", "file")]
    assert VALUE not in repr(again)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"secrets": 3}', b'{"secrets": [{"name": "TOKEN"}]}', None])
def test_a_workspace_whose_secrets_are_gone_or_damaged_runs_nothing(
    yard: HostFixture, workspace: Workspace, content: bytes | None
) -> None:
    path = yard.disks(workspace).secrets
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PyroError, match=r"secrets of the workspace .* are missing or damaged") as caught:
        run(yard, workspace, "true")
    assert caught.value.code is ErrorCode.CORRUPT


def test_a_file_with_other_secrets_than_the_record_has_is_not_taken(yard: HostFixture, workspace: Workspace) -> None:
    keep_secrets(yard.disks(workspace), SECRETS[:1])
    with pytest.raises(PyroError, match="missing or damaged"):
        redactor_for(yard.engine.paths, workspace)


def test_a_command_gets_a_secret_and_nobody_sees_it(yard: HostFixture, workspace: Workspace) -> None:
    seen: list[tuple[Stream, bytes]] = []
    streams = CommandStreams(on_output=lambda stream, data: seen.append((stream, data)))
    printing = 'printf %s "$T" | while IFS= read -r -n1 each; do printf %s "$each"; done; echo "$T" >&2; echo "${#T}"'
    command = ("bash", "-c", f"{printing}; : '{VALUE}'")
    done = run(yard, workspace, command, streams=streams, secret_env={"TOKEN": "T"})
    assert done.stderr == "[REDACTED]\n"
    assert done.stdout.endswith(f"{len(VALUE)}\n") or done.stdout.endswith(f"{len(VALUE.encode())}\n")
    assert done.command == ("bash", "-c", f"{printing}; : '[REDACTED]'")
    assert done.stderr_bytes == len(done.stderr)
    record = logs_workspace(yard.engine, workspace.id)[-1]
    assert (record.command, record.stdout, record.stderr) == (done.command, done.stdout, done.stderr)
    assert b"".join(data for stream, data in seen if stream is Stream.STDERR) == b"[REDACTED]\n"


def test_an_error_that_quotes_a_value_is_redacted_everywhere(yard: HostFixture, workspace: Workspace) -> None:
    with pytest.raises(PyroError, match=r"command not found: '\[REDACTED\]'") as caught:
        run(yard, workspace, ("v4lue/of é that is long",))
    assert caught.value.details["exit_code"] == 127
    assert "[REDACTED]" in logs_workspace(yard.engine, workspace.id)[-1].error


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        ({"NOPE": "A"}, ErrorCode.NOT_FOUND, "no secret 'NOPE'"),
        ({"TOKEN": ""}, ErrorCode.INVALID, "can't be in a variable with that name"),
        ({"TOKEN": "A=B"}, ErrorCode.INVALID, "can't be in a variable with that name"),
        ({"ZERO": "A"}, ErrorCode.INVALID, "contains a NUL"),
    ],
)
def test_what_can_be_no_variable_is_refused_before_anything_runs(
    yard: HostFixture, workspace: Workspace, wanted: dict[str, str], code: ErrorCode, message: str
) -> None:
    with pytest.raises(PyroError, match=message) as caught:
        run(yard, workspace, "true", secret_env=wanted)
    assert caught.value.code is code
    assert logs_workspace(yard.engine, workspace.id) == ()


def test_two_secrets_need_two_variables(yard: HostFixture, workspace: Workspace) -> None:
    keep_secrets(yard.disks(workspace), [SECRETS[0], Secret("ZERO", SecretKind.FILE, "no zero")])
    with pytest.raises(PyroError, match="two secrets are assigned to the variable A"):
        secret_variables(workspace, secrets_of(yard.paths, workspace), {"TOKEN": "A", "ZERO": "A"})


def test_a_workspace_without_secrets_has_none_to_give(yard: HostFixture) -> None:
    made = yard.workspace()
    assert redactor_for(yard.engine.paths, made).is_idle
    assert not yard.disks(made).secrets.exists()
    with pytest.raises(PyroError, match="no secret 'TOKEN'"):
        run(yard, made, "true", secret_env={"TOKEN": "A"})


def test_a_command_reads_its_secrets_once(
    yard: HostFixture, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def counted(path: Path, what: str) -> int:
        opened.append(path)
        return open_regular(path, what)

    monkeypatch.setattr(keeping, "open_regular", counted)
    redactors: dict[str, Redactor] = {}
    run(yard, workspace, "true", secret_env={"TOKEN": "A"}, redactors=redactors)
    call = replace(Runner(yard.paths).call(), redactors=redactors)
    assert without_secrets(WorkspaceLogsResult(workspace.id, 0, []), call).count == 0
    assert len(opened) == 1


def test_what_a_cut_off_command_held_back_is_not_shown(yard: HostFixture, workspace: Workspace) -> None:
    seen = bytearray()
    output = RedactedOutput(redactor_for(yard.engine.paths, workspace), lambda _, data: seen.extend(data))
    output.take(Stream.STDOUT, b"so far: v4lue/of")
    assert seen == b"so far: "
    output.finish()
    assert seen == b"so far: v4lue/of"


def test_results_and_errors_of_any_operation_hold_no_value(yard: HostFixture, workspace: Workspace) -> None:
    call = Runner(yard.paths).call()
    shown = LoggedCommand(
        3,
        f"echo {VALUE}",
        "/workspace",
        "",
        VALUE,
        "",
        0,
        False,
        False,
        1,
        f"x{VALUE}",
        VALUE,
        1,
        1,
        False,
        False,
        VALUE,
    )
    result = without_secrets(WorkspaceLogsResult(workspace.id, 1, [shown]), call)
    assert result.workspace_id == workspace.id
    (after,) = result.entries
    assert (after.command, after.stdout, after.stderr, after.error) == (
        "echo [REDACTED]", "x[REDACTED]", "[REDACTED]", "[REDACTED]",
    )  # fmt: skip
    # What is neither the guest's nor a quotation is left alone.
    assert after.started_at == VALUE

    request = shown_request(workspace.id)
    details: dict[str, object] = {"path": VALUE, "all": [VALUE, {"deep": VALUE}], "number": 3}
    error = error_without_secrets(
        PyroError(ErrorCode.INVALID, f"no {VALUE}", hint=VALUE, details=details), request, call
    )
    assert VALUE not in json.dumps(error.to_json(), ensure_ascii=False)
    assert error.details["number"] == 3
    plain = PyroError(ErrorCode.INVALID, "nothing of it")
    assert error_without_secrets(plain, request, call) is plain
    assert error_without_secrets(plain, shown_request("ws_none"), call) is plain


def shown_request(workspace_id: str) -> object:
    from pyro_mcp.operations.workspaces.commands import WorkspaceLogsRequest

    return WorkspaceLogsRequest(workspace_id=workspace_id)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"name": "A"},
        {"value": VALUE},
        {"name": "A", "value": VALUE, "file_path": "x"},
        {"name": "A", "valeu": VALUE},
    ],
)
def test_a_record_of_another_form_is_refused_without_what_it_holds(record: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some value")
    with pytest.raises(PyroError, match="the secret number 2 is malformed") as caught:
        secrets_given([{"name": "B", "file_path": str(tmp_path / "file")}, record])
    assert VALUE not in str(caught.value.to_json())
