"""Run an operation for a method of `Pyro`, and convert Python arguments to request fields."""

from __future__ import annotations

import io
import os
from codecs import getincrementaldecoder
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TextIO, TypeAlias, cast

from pyro_mcp.errors import PyroError
from pyro_mcp.operations.fields import Kind, parameters
from pyro_mcp.operations.table import find_command

if TYPE_CHECKING:
    from pyro_mcp.agent import CancelToken, Stream
    from pyro_mcp.agent.exchange import Input
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.operations.fields import Parameter
    from pyro_mcp.operations.operation import Call
    from pyro_mcp.operations.runner import Runner

#: Cancels the calls of this context: of one call of an `AsyncPyro`.
CANCEL: ContextVar[CancelToken | None] = ContextVar("CANCEL", default=None)
#: The input of a command.
Stdin: TypeAlias = str | bytes | bytearray | memoryview | BinaryIO | TextIO


class Calling:
    """The base of classes whose methods are operations."""

    def __init__(self, runner: Runner, progress: Progress | Callable[[ProgressEvent], object] | None) -> None:
        self.runner = runner
        self.progress = Told(progress) if callable(progress) else progress

    def _run(self, command: str, given: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - methods have types
        """Run the operation with this name on the command line; `given` are the locals of a method: its arguments."""
        fields = {name: value for name, value in (given or {}).items() if name != "self"}
        stdin, on_stdout, on_stderr = (fields.pop(name, None) for name in ("stdin", "on_stdout", "on_stderr"))
        operation = find_command(command.split(" "))
        if operation is None:
            raise LookupError(command)
        known = {each.name: each for each in parameters(operation.request)}
        request = operation.request(**{name: _held(known[name], value) for name, value in fields.items()})
        with calling(self) as call:
            streams = replace(call, stdin=_readable(stdin), on_output=_live(on_stdout, on_stderr))
            return _worded(self.runner.run(operation, request, streams))


@contextmanager
def calling(pyro: Calling) -> Generator[Call]:
    """Yield a call of a `Pyro`. An error of the block names methods, not commands."""
    call = replace(pyro.runner.call(), cancel=CANCEL.get())
    try:
        yield call if pyro.progress is None else replace(call, progress=pyro.progress)
    except PyroError as error:
        from pyro_mcp.operations.hints import Surface, adapted

        error.message, error.hint = (adapted(text, Surface.SDK) for text in (error.message, error.hint))
        raise


def _worded(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result whose hint, if it has one, names methods, not commands."""
    if result.get("network_hint"):
        from pyro_mcp.operations.hints import Surface, adapted

        result["network_hint"] = adapted(result["network_hint"], Surface.SDK)
    return result


class ProgressEvent(NamedTuple):
    """The argument of a `progress` callable. `fraction` is from 0 to 1, or None if unknown."""

    phase: str
    message: str
    fraction: float | None


class Told:
    """Progress that calls a callable."""

    def __init__(self, tell: Callable[[ProgressEvent], object]) -> None:
        self._tell = tell
        self._phase = ""

    def phase(self, name: str, message: str = "") -> None:
        """Report that a phase begins."""
        self._phase = name
        self._tell(ProgressEvent(name, message, None))

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Report progress within the phase."""
        self._tell(ProgressEvent(self._phase, message, fraction))


def _readable(stdin: Stdin | None) -> Input:
    """Return an input as bytes, or as a binary file."""
    if isinstance(stdin, str):
        return stdin.encode("utf-8", "surrogateescape")
    if isinstance(stdin, (bytearray, memoryview)):
        return bytes(stdin)
    if isinstance(stdin, io.TextIOBase) and not hasattr(stdin, "buffer"):
        return _readable(stdin.read())
    return cast("Input", getattr(stdin, "buffer", stdin))


def _live(
    on_stdout: Callable[[str], object] | None, on_stderr: Callable[[str], object] | None
) -> Callable[[Stream, bytes], None] | None:
    """Return a callback that passes output on as text, never splitting characters."""
    if on_stdout is None and on_stderr is None:
        return None
    decoders = {name: getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
    takers = {"stdout": on_stdout, "stderr": on_stderr}

    def take(stream: Stream, data: bytes) -> None:
        taker, text = takers[stream.value], decoders[stream.value].decode(data)
        if taker is not None and text:
            taker(text)

    return take


def _held(parameter: Parameter, value: Any) -> object:  # noqa: ANN401 - as above
    """Convert an argument for a request: paths to text, sequences to tuples, mappings to dictionaries."""
    if not parameter.required and value is None:
        return None
    if parameter.is_host_path:
        return os.fspath(cast("str", value))
    match parameter.kind:
        case Kind.COMMAND:
            return value if isinstance(value, str) else tuple(value)
        case Kind.TEXTS:
            is_one = isinstance(value, (str, os.PathLike))
            return tuple(map(os.fspath, cast("Sequence[str]", [value] if is_one else value)))
        case Kind.PAIRS | Kind.CHECK:
            return dict(value)
        case Kind.RECORDS | Kind.PORTS:
            return tuple(dict(each) for each in value)
        case _:
            return value
