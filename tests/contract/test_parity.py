"""Every surface offers the same operations: the same names, parameters, defaults and types."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import pyro_mcp
from pyro_mcp import AsyncPyro, ErrorCode, Files, Pyro, PyroError, Service, Shell, Workspace
from pyro_mcp.cli.execution import shape_of
from pyro_mcp.cli.parsing import make_parser
from pyro_mcp.cli.shape import FILE_SUFFIX, FOLLOW, FORMAT, JSON, ONLY, QUIET, STDIN, TTY
from pyro_mcp.mcp_server.schemas import ToolInput
from pyro_mcp.operations.fields import Kind, Place, parameters
from pyro_mcp.operations.profiles import PROFILES, find_profile
from pyro_mcp.operations.table import all_operations
from pyro_mcp.sdk.asynchronous import AsyncFiles, AsyncService, AsyncShell, AsyncWorkspace
from pyro_mcp.sdk.workspace import NewWorkspace

if TYPE_CHECKING:
    from pyro_mcp.operations.operation import Operation

ROWS = all_operations()
NOT_OPERATIONS = {"close", "create_server", "workspace"}
SDK_TYPES = {
    Kind.TEXT: "str",
    Kind.OPTIONAL_TEXT: "str | None",
    Kind.WHOLE: "int",
    Kind.OPTIONAL_WHOLE: "int | None",
    Kind.NUMBER: "float | None",
    Kind.CLAIM: "bool",
    Kind.COMMAND: "str | Sequence[str]",
    Kind.TEXTS: "Sequence[str] | None",
    Kind.PAIRS: "Mapping[str, str] | None",
    Kind.RECORDS: "Sequence[Mapping[str, str]] | None",
    Kind.CHECK: "Mapping[str, str | int] | None",
    Kind.PORTS: "Sequence[Mapping[str, int | None]] | None",
}
RETURNS = {"list_environments": "list[Environment]"}
OWN_SDK_TYPES = {"stdin": "Stdin | None", "ca_files": "Sequence[str | PathLike[str]] | None"}
# Arguments of methods that pass a command's output on as it comes.
LIVE = {"on_stdout", "on_stderr"}
HOST_PATH_TYPES = {Kind.TEXT: "str | PathLike[str]", Kind.OPTIONAL_TEXT: "str | PathLike[str] | None"}
JSON_TYPES = {Kind.TEXT: "string", Kind.WHOLE: "integer", Kind.NUMBER: "number", Kind.CLAIM: "boolean"}
# The public contract, sections 3, 4 and 5.1 to 5.5, and what this version adds to it (all of it optional).
SIGNATURES = {
    "list_environments": "()",
    "pull_environment": "(environment: str, *, force: bool = False)",
    "inspect_environment": "(environment: str)",
    "prune_environments": "()",
    "create_vm": (
        "(environment: str, vcpu_count: int = 1, mem_mib: int = 1024, ttl_seconds: int = 600, network: bool = False,"
        " allow_host_compat: bool = False, *, require_kvm: bool = False, network_policy: str | None = None,"
        " allow_hosts: Sequence[str] | None = None, deny_hosts: Sequence[str] | None = None,"
        " ca_files: Sequence[str | PathLike[str]] | None = None)"
    ),
    "start_vm": "(vm_id: str)",
    "exec_vm": (
        "(vm_id: str, *, command: str | Sequence[str], timeout_seconds: float | None = 30,"
        " env: Mapping[str, str] | None = None, cwd: str = /workspace,"
        " user: str | None = None, stdin: Stdin | None = None, merge_stderr: bool = False,"
        " max_output_bytes: int = 1048576, keep: str = ends, on_stdout: Callable[[str], object] | None = None,"
        " on_stderr: Callable[[str], object] | None = None)"
    ),
    "stop_vm": "(vm_id: str)",
    "delete_vm": "(vm_id: str)",
    "status_vm": "(vm_id: str)",
    "network_info_vm": "(vm_id: str)",
    "reap_expired": "()",
    "network_presets": "(environment: str = debian:12)",
    "show_workspace_network": "(workspace_id: str)",
    "set_workspace_network": (
        "(workspace_id: str, *, network_policy: str, allow_hosts: Sequence[str] | None = None,"
        " deny_hosts: Sequence[str] | None = None)"
    ),
    "allow_workspace_hosts": "(workspace_id: str, hosts: Sequence[str] | None)",
    "deny_workspace_hosts": "(workspace_id: str, hosts: Sequence[str] | None)",
    "read_workspace_network_log": "(workspace_id: str, *, since: int = 0, limit: int = 200)",
    "run_in_vm": (
        "(environment: str, command: str | Sequence[str], *, vcpu_count: int = 1, mem_mib: int = 1024,"
        " timeout_seconds: float | None = 30, ttl_seconds: int = 600, network: bool = False,"
        " allow_host_compat: bool = False, require_kvm: bool = False, env: Mapping[str, str] | None = None,"
        " cwd: str = /workspace, user: str | None = None, stdin: Stdin | None = None, merge_stderr: bool = False,"
        " max_output_bytes: int = 1048576, keep: str = ends, network_policy: str | None = None,"
        " allow_hosts: Sequence[str] | None = None, deny_hosts: Sequence[str] | None = None,"
        " ca_files: Sequence[str | PathLike[str]] | None = None, on_stdout: Callable[[str], object] | None = None,"
        " on_stderr: Callable[[str], object] | None = None)"
    ),
    "create_workspace": (
        "(environment: str, *, vcpu_count: int = 1, mem_mib: int = 1024, ttl_seconds: int = 3600,"
        " network_policy: str = off, allow_host_compat: bool = False, seed_path: str | PathLike[str] | None = None,"
        " secrets: Sequence[Mapping[str, str]] | None = None, name: str | None = None,"
        " labels: Mapping[str, str] | None = None, require_kvm: bool = False, include_ignored: bool = False,"
        " exclude: Sequence[str] | None = None, allow_hosts: Sequence[str] | None = None,"
        " deny_hosts: Sequence[str] | None = None,"
        " ca_files: Sequence[str | PathLike[str]] | None = None)"
    ),
    "list_workspaces": "()",
    "update_workspace": (
        "(workspace_id: str, *, name: str | None = None, clear_name: bool = False,"
        " labels: Mapping[str, str] | None = None, clear_labels: Sequence[str] | None = None)"
    ),
    "status_workspace": "(workspace_id: str)",
    "stop_workspace": "(workspace_id: str)",
    "start_workspace": "(workspace_id: str)",
    "delete_workspace": "(workspace_id: str)",
    "exec_workspace": (
        "(workspace_id: str, *, command: str | Sequence[str], timeout_seconds: float | None = 30,"
        " secret_env: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None,"
        " cwd: str = /workspace, user: str | None = None, stdin: Stdin | None = None, merge_stderr: bool = False,"
        " max_output_bytes: int = 1048576, keep: str = ends, on_stdout: Callable[[str], object] | None = None,"
        " on_stderr: Callable[[str], object] | None = None)"
    ),
    "open_shell": (
        "(workspace_id: str, *, cwd: str = /workspace, cols: int = 120, rows: int = 30,"
        " secret_env: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None,"
        " user: str | None = None)"
    ),
    "list_shells": "(workspace_id: str)",
    "read_shell": (
        "(workspace_id: str, shell_id: str, *, cursor: int = 0, max_chars: int = 65536, plain: bool = False,"
        " wait_for_idle_ms: int | None = None)"
    ),
    "write_shell": "(workspace_id: str, shell_id: str, *, input: str, append_newline: bool = True)",
    "signal_shell": "(workspace_id: str, shell_id: str, *, signal_name: str = INT)",
    "close_shell": "(workspace_id: str, shell_id: str)",
    "start_service": (
        "(workspace_id: str, service_name: str, *, command: str | Sequence[str], cwd: str = /workspace,"
        " readiness: Mapping[str, str | int] | None = None, ready_timeout_seconds: int = 30,"
        " ready_interval_ms: int = 500, secret_env: Mapping[str, str] | None = None,"
        " env: Mapping[str, str] | None = None, user: str | None = None,"
        " published_ports: Sequence[Mapping[str, int | None]] | None = None)"
    ),
    "list_services": "(workspace_id: str)",
    "status_service": "(workspace_id: str, service_name: str)",
    "logs_service": "(workspace_id: str, service_name: str, *, tail_lines: int = 200, all: bool = False)",
    "stop_service": "(workspace_id: str, service_name: str)",
    "logs_workspace": "(workspace_id: str, *, sequence: int | None = None, offset: int = 0)",
    "push_workspace_sync": "(workspace_id: str, source_path: str | PathLike[str], *, dest: str = /workspace)",
    "list_workspace_files": "(workspace_id: str, *, path: str = /workspace, recursive: bool = False)",
    "read_workspace_file": "(workspace_id: str, path: str, *, max_bytes: int = 65536, offset: int = 0)",
    "write_workspace_file": "(workspace_id: str, path: str, *, text: str)",
    "apply_workspace_patch": "(workspace_id: str, *, patch: str)",
    "diff_workspace": (
        "(workspace_id: str, *, path: str = /workspace, include_ignored: bool = False, binary: bool = False,"
        " include_host_hooks: bool = False)"
    ),
    "summarize_workspace": "(workspace_id: str, *, include_ignored: bool = False)",
    "create_snapshot": "(workspace_id: str, snapshot_name: str, *, with_root: bool = False)",
    "list_snapshots": "(workspace_id: str)",
    "delete_snapshot": "(workspace_id: str, snapshot_name: str)",
    "reset_workspace": "(workspace_id: str, *, snapshot: str = baseline)",
    "export_workspace": (
        "(workspace_id: str, path: str, *, output_path: str | PathLike[str], include_ignored: bool = False,"
        " include_host_hooks: bool = False)"
    ),
    "export_workspace_disk": "(workspace_id: str, *, output_path: str | PathLike[str])",
    "list_workspace_disk": "(workspace_id: str, *, path: str = /workspace, recursive: bool = False)",
    "read_workspace_disk": "(workspace_id: str, path: str, *, max_bytes: int = 65536)",
}
TOOLS = {
    "vm_list_environments", "vm_run", "vm_create", "vm_start", "vm_exec", "vm_stop", "vm_delete", "vm_status",
    "vm_network_info", "vm_reap_expired", "workspace_create", "workspace_list", "workspace_update",
    "workspace_status", "workspace_stop", "workspace_start", "workspace_delete", "workspace_exec", "workspace_logs",
    "workspace_sync_push", "workspace_file_list", "workspace_file_read", "workspace_file_write",
    "workspace_patch_apply", "workspace_diff", "workspace_summary", "workspace_export", "workspace_reset",
    "workspace_disk_export", "workspace_disk_list", "workspace_disk_read", "snapshot_create", "snapshot_list",
    "snapshot_delete", "service_start", "service_list", "service_status", "service_logs", "service_stop",
    "shell_open", "shell_list", "shell_read", "shell_write", "shell_signal", "shell_close",
}  # fmt: skip
COMMANDS = {
    ("env", "list"), ("env", "pull"), ("env", "inspect"), ("env", "prune"),
    ("run",), ("doctor",), ("prepare",), ("demo",),
    *[("workspace", verb) for verb in ("create", "list", "update", "status", "stop", "start", "delete", "exec", "logs",
                                       "diff", "summary", "reset", "export")],
    *[("workspace", "file", verb) for verb in ("list", "read", "write")],
    *[("workspace", "snapshot", verb) for verb in ("create", "list", "delete")],
    *[("workspace", "shell", verb) for verb in ("open", "read", "write", "signal", "close")],
    *[("workspace", "service", verb) for verb in ("start", "list", "status", "logs", "stop")],
    *[("workspace", "disk", verb) for verb in ("export", "list", "read")],
    ("workspace", "sync", "push"), ("workspace", "patch", "apply"),
}  # fmt: skip


def named(row: Operation[Any, Any]) -> str:
    return row.name


def sdk_parameters(row: Operation[Any, Any]) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(Pyro, row.sdk))
    return {name: each for name, each in signature.parameters.items() if name != "self"}


def test_the_sdk_has_the_operations_and_nothing_else() -> None:
    methods = {name for name, _ in inspect.getmembers(Pyro, inspect.isfunction) if not name.startswith("_")}
    assert methods == {row.sdk for row in ROWS} | NOT_OPERATIONS


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_method_has_the_fields_of_the_request(row: Operation[Any, Any]) -> None:
    known = {each.name: each for each in parameters(row.request, "sdk")}
    live = LIVE if "merge_stderr" in known else set[str]()
    assert set(sdk_parameters(row)) == set(known) | live
    for name, each in sdk_parameters(row).items():
        if name in live:
            continue
        types = HOST_PATH_TYPES if known[name].is_host_path else SDK_TYPES
        assert each.annotation == OWN_SDK_TYPES.get(name, types[known[name].kind]), name
        assert (each.default is inspect.Parameter.empty) is known[name].required, name
        if not known[name].required:
            assert each.default == known[name].default, name
    returned = inspect.signature(getattr(Pyro, row.sdk)).return_annotation
    assert returned == RETURNS.get(row.sdk, row.result.__name__)


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_method_has_the_contracts_signature(method: str) -> None:
    signature = inspect.signature(getattr(Pyro, method))
    arguments = [each for name, each in signature.parameters.items() if name != "self"]
    shown = str(signature.replace(parameters=arguments, return_annotation=inspect.Signature.empty))
    assert shown.replace("'", "") == SIGNATURES[method]


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_command_has_the_fields_of_the_request(row: Operation[Any, Any]) -> None:
    actions = {action.dest: action for action in make_parser(shape_of(row))._actions}
    beside = {"help", JSON, *([ONLY] if row.only else []), *([STDIN, TTY] if row.takes_stdin else [])}
    beside |= {QUIET} if shape_of(row).quiet else set()
    beside |= {FOLLOW} if shape_of(row).follows else set()
    beside |= {FORMAT} if shape_of(row).formats else set()
    known = {each.name: each for each in shape_of(row).parameters if each.place is not Place.COMMAND}
    files = {each.name + FILE_SUFFIX for each in known.values() if each.from_file}
    assert set(actions) == {*beside, *known, *files}
    for name, each in known.items():
        if not each.required:
            assert actions[name].default == each.default


def test_the_contracts_tools_and_commands_are_there() -> None:
    assert {row.mcp for row in ROWS if row.mcp} >= TOOLS
    assert {row.cli for row in ROWS if row.cli} >= COMMANDS


def unless_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what may be null, for when it is not."""
    match schema["type"]:
        case [kind, "null"]:
            return {**schema, "type": kind}
        case _:
            return schema


@pytest.mark.parametrize("row", [row for row in ROWS if row.mcp], ids=named)
def test_a_tool_has_the_fields_of_the_request(row: Operation[Any, Any]) -> None:
    schema = ToolInput(row, frozenset(), find_profile("workspace-full").given_to(row)).schema
    known = parameters(row.request, "mcp")
    assert list(schema["properties"]) == [each.name for each in known]
    for each in known:
        shown = unless_null(schema["properties"][each.name])
        assert shown["description"].startswith(each.description)
        # A server has an environment for the calls that name none.
        assert shown.get("default") == ("debian:12" if each.name == "environment" and each.required else each.default)
        # Not every host shows a model more than the description.
        if each.maximum is not None:
            assert f"{each.minimum} to {each.maximum}" in shown["description"]
        if each.default is not None and not isinstance(each.default, bool):
            assert f"efault {each.default}" in shown["description"]
        if each.kind in JSON_TYPES:
            assert shown["type"] == JSON_TYPES[each.kind]
    required = [each.name for each in known if each.required and each.name != "environment"]
    assert schema.get("required", []) == required


@pytest.mark.parametrize("row", [row for row in ROWS if row.mcp], ids=named)
def test_a_profile_can_hide_arguments(row: Operation[Any, Any]) -> None:
    optional = [each.name for each in parameters(row.request) if not each.required]
    hidden = ToolInput(row, frozenset(optional)).schema
    assert not set(hidden["properties"]) & set(optional)
    assert all(not profile.hidden or profile.tools for profile in PROFILES.values())


# The objects of the SDK have the methods and parameters of `Pyro`, to call or to await, and each says how.
PAIRS: dict[type, type] = {
    Pyro: AsyncPyro, Workspace: AsyncWorkspace, Files: AsyncFiles, Shell: AsyncShell, Service: AsyncService,
}  # fmt: skip
OWN = {"create_server"}


def methods(kind: type) -> dict[str, Any]:
    members = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: each for name, each in members.items() if callable(each)}


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_what_can_be_called_can_be_awaited(kind: type) -> None:
    assert set(methods(PAIRS[kind])) == set(methods(kind)) - OWN


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in PAIRS for name in methods(kind)],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_every_method_has_an_example_that_python_can_read(kind: type, name: str) -> None:
    examples = re.findall(r"Example: `(.+?)`$", inspect.getdoc(methods(kind)[name]) or "", re.MULTILINE)
    assert examples, f"{kind.__name__}.{name} has no example"
    for example in examples:
        compile(example, name, "exec", flags=0x2000)  # await may stand at the top


def test_a_workspace_is_created_with_the_arguments_of_create_workspace() -> None:
    known = inspect.signature(Pyro.create_workspace).parameters
    keywords = {name: each.annotation for name, each in known.items() if each.kind is each.KEYWORD_ONLY}
    assert {name: each.__forward_arg__ for name, each in NewWorkspace.__annotations__.items()} == keywords


def test_exec_of_a_workspace_is_exec_workspace() -> None:
    own = dict(inspect.signature(Workspace.exec).parameters)
    flat = dict(inspect.signature(Pyro.exec_workspace).parameters)
    assert own.pop("command").annotation == flat.pop("command").annotation
    del flat["workspace_id"]
    assert {name: (each.annotation, each.default) for name, each in own.items()} == {
        name: (each.annotation, each.default) for name, each in flat.items()
    }


def test_every_public_name_is_in_the_stub_and_can_be_imported() -> None:
    stub = (inspect.getsourcefile(pyro_mcp) or "") + "i"
    with open(stub, encoding="utf-8") as file:
        names = re.findall(r"import (\w+) as \1", file.read())
    assert sorted([*names, "__version__"]) == dir(pyro_mcp)
    assert all(getattr(pyro_mcp, name).__name__ == name for name in names)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_but_that_of_usage_has_its_class(code: ErrorCode) -> None:
    error = PyroError(code, "it is wrong", hint="Do it right.")
    assert isinstance(error, RuntimeError)
    assert isinstance(error, ValueError)
    assert str(error) == f"it is wrong [{code.value}] Do it right."
    if code is not ErrorCode.USAGE:
        assert type(error) is getattr(pyro_mcp, type(error).__name__) is not PyroError
