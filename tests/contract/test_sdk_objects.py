"""The objects of the SDK have the methods and parameters of `Pyro`, to call or to await, and each says how."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import pyro_mcp
from pyro_mcp import AsyncPyro, ErrorCode, Files, Pyro, PyroError, Service, Shell, Workspace
from pyro_mcp.sdk.asynchronous import AsyncFiles, AsyncService, AsyncShell, AsyncWorkspace
from pyro_mcp.sdk.workspace import NewWorkspace

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
