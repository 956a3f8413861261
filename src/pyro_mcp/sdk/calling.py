"""Run an operation for a method of `Pyro`, and convert Python arguments to request fields."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.operations.fields import Kind, parameters
from pyro_mcp.operations.table import find_command

if TYPE_CHECKING:
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.operations.fields import Parameter
    from pyro_mcp.operations.runner import Runner


class Calling:
    """The base of classes whose methods are operations."""

    def __init__(self, runner: Runner, progress: Progress | None) -> None:
        self.runner = runner
        self._progress = progress

    def _run(self, command: str, /, **given: Any) -> Any:  # noqa: ANN401 - each method declares its types
        """Run the operation with this name on the command line; its request's fields are given by name."""
        operation = find_command(command.split(" "))
        if operation is None:
            raise LookupError(command)
        known = {each.name: each for each in parameters(operation.request)}
        request = operation.request(**{name: _held(known[name], value) for name, value in given.items()})
        call = self.runner.call()
        if self._progress is not None:
            call = replace(call, progress=self._progress)
        return self.runner.run(operation, request, call)


def _held(parameter: Parameter, value: Any) -> object:  # noqa: ANN401 - as above
    """Return an argument as requests hold it: any path as text, sequences as tuples, mappings as dictionaries."""
    if not parameter.required and value is None:
        return None
    if parameter.is_host_path:
        return os.fspath(cast("str", value))
    match parameter.kind:
        case Kind.COMMAND:
            return value if isinstance(value, str) else tuple(value)
        case Kind.TEXTS:
            return (value,) if isinstance(value, str) else tuple(value)
        case Kind.PAIRS:
            return dict(value)
        case Kind.RECORDS:
            return tuple(dict(each) for each in value)
        case _:
            return value
