"""Every surface offers the same operations: the same names, parameters, defaults and types."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.cli.execution import shape_of
from pyro_mcp.cli.parsing import make_parser
from pyro_mcp.mcp_server.schemas import ToolInput
from pyro_mcp.operations.fields import Kind, Place, parameters
from pyro_mcp.operations.profiles import PROFILES
from pyro_mcp.operations.table import all_operations

if TYPE_CHECKING:
    from pyro_mcp.operations.operation import Operation

ROWS = all_operations()
NOT_OPERATIONS = {"close", "create_server"}
SDK_TYPES = {
    Kind.TEXT: "str",
    Kind.OPTIONAL_TEXT: "str | None",
    Kind.WHOLE: "int",
    Kind.CLAIM: "bool",
    Kind.COMMAND: "str | Sequence[str]",
}
JSON_TYPES = {Kind.TEXT: "string", Kind.WHOLE: "integer", Kind.CLAIM: "boolean"}
# The public contract, sections 3 and 4, and what this version adds to it (all of it optional).
SIGNATURES = {
    "list_environments": "()",
    "pull_environment": "(environment: str, *, force: bool = False)",
    "inspect_environment": "(environment: str)",
    "prune_environments": "()",
    "create_vm": (
        "(environment: str, vcpu_count: int = 1, mem_mib: int = 1024, ttl_seconds: int = 600, network: bool = False,"
        " allow_host_compat: bool = False, *, require_kvm: bool = False)"
    ),
    "start_vm": "(vm_id: str)",
    "exec_vm": "(vm_id: str, *, command: str | Sequence[str], timeout_seconds: int = 30)",
    "stop_vm": "(vm_id: str)",
    "delete_vm": "(vm_id: str)",
    "status_vm": "(vm_id: str)",
    "network_info_vm": "(vm_id: str)",
    "reap_expired": "()",
    "run_in_vm": (
        "(environment: str, command: str | Sequence[str], *, vcpu_count: int = 1, mem_mib: int = 1024,"
        " timeout_seconds: int = 30, ttl_seconds: int = 600, network: bool = False, allow_host_compat: bool = False,"
        " require_kvm: bool = False)"
    ),
}
TOOLS = {
    "vm_list_environments", "vm_run", "vm_create", "vm_start", "vm_exec", "vm_stop", "vm_delete", "vm_status",
    "vm_network_info", "vm_reap_expired",
}  # fmt: skip
COMMANDS = {
    ("env", "list"), ("env", "pull"), ("env", "inspect"), ("env", "prune"),
    ("run",), ("doctor",), ("prepare",), ("demo",),
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
    known = {each.name: each for each in parameters(row.request)}
    assert set(sdk_parameters(row)) == set(known)
    for name, each in sdk_parameters(row).items():
        assert each.annotation == SDK_TYPES[known[name].kind], name
        assert (each.default is inspect.Parameter.empty) is known[name].required, name
        if not known[name].required:
            assert each.default == known[name].default, name
    assert inspect.signature(getattr(Pyro, row.sdk)).return_annotation == row.result.__name__


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_method_has_the_contracts_signature(method: str) -> None:
    signature = inspect.signature(getattr(Pyro, method))
    arguments = [each for name, each in signature.parameters.items() if name != "self"]
    shown = str(signature.replace(parameters=arguments, return_annotation=inspect.Signature.empty))
    assert shown.replace("'", "") == SIGNATURES[method]


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_command_has_the_fields_of_the_request(row: Operation[Any, Any]) -> None:
    actions = {action.dest: action for action in make_parser(shape_of(row))._actions}
    assert {"help", "json"} <= set(actions)
    known = {each.name: each for each in parameters(row.request) if each.place is not Place.COMMAND}
    assert set(actions) - {"help", "json"} == set(known)
    for name, each in known.items():
        if not each.required:
            assert actions[name].default == each.default


def test_the_contracts_tools_and_commands_are_there() -> None:
    assert {row.mcp for row in ROWS if row.mcp} == TOOLS
    assert {row.cli for row in ROWS if row.cli} >= COMMANDS


@pytest.mark.parametrize("row", [row for row in ROWS if row.mcp], ids=named)
def test_a_tool_has_the_fields_of_the_request(row: Operation[Any, Any]) -> None:
    schema = ToolInput(row, frozenset()).schema
    assert list(schema["properties"]) == [each.name for each in parameters(row.request)]
    for each in parameters(row.request):
        shown = schema["properties"][each.name]
        assert shown["description"] == each.description
        assert shown.get("default") == each.default
        assert shown.get("minimum") == each.minimum
        assert shown.get("maximum") == each.maximum
        if each.kind in JSON_TYPES:
            assert shown["type"] == JSON_TYPES[each.kind]
    assert schema.get("required", []) == [each.name for each in parameters(row.request) if each.required]


@pytest.mark.parametrize("row", [row for row in ROWS if row.mcp], ids=named)
def test_a_profile_can_hide_arguments(row: Operation[Any, Any]) -> None:
    optional = [each.name for each in parameters(row.request) if not each.required]
    hidden = ToolInput(row, frozenset(optional)).schema
    assert not set(hidden["properties"]) & set(optional)
    assert all(not profile.hidden or profile.tools for profile in PROFILES.values())
