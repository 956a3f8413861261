"""The types of a row of the table, of a call and of a result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, dataclass_transform, get_args, get_origin, get_type_hints

from pyro_mcp.host.progress import Silent
from pyro_mcp.model.command import Captured
from pyro_mcp.model.limits import MAX_STREAM_BYTES, TIMED_OUT
from pyro_mcp.operations.fields import Request, said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyro_mcp.agent import CancelToken, Stream
    from pyro_mcp.agent.exchange import Input
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.secrets.redactor import Redactor

Q = TypeVar("Q")
R = TypeVar("R")


class Effect(StrEnum):
    """The effect of an operation on existing state."""

    READ = "read"
    WRITE = "write"
    DESTROY = "destroy"


class EmptyRequest(Request):
    """The request of an operation without parameters."""


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(said,))
class Result(dict[str, Any]):
    """The base of every result: a JSON mapping whose keys are also attributes.

    A subclass declares its fields, in order, as `name: type = said(…)`. They are public: added, never renamed.
    """

    if not TYPE_CHECKING:  # so that each subclass has the signature and the attributes that it declares

        def __init__(self, *values: object, **given: object) -> None:
            found = dict(zip((each.name for each in fields(self)), values, strict=False)) | given
            super().__init__({each.name: _json(found.pop(each.name)) for each in fields(self)})
            if found:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(found)}")

        def __getattr__(self, name: str) -> object:
            try:
                return self[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}", name=name, obj=self) from None

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{name} can't be assigned to", name=name, obj=self)

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)

    def __repr__(self) -> str:
        from reprlib import Repr

        short = Repr()
        short.maxstring = short.maxother = 60
        shown = ", ".join(f"{name}={short.repr(value)}" for name, value in self.items())
        return f"{type(self).__name__}({shown})"


def _json(value: object) -> object:
    """Convert a value to JSON types: sequences to lists, enum members to their values."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_json(each) for each in cast("tuple[object, ...]", value)]
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The context of one operation: everything that a surface passes besides the request.

    `on_output` gets a guest's output as it arrives. `stdin` is a descriptor, a file, bytes, or None for an empty input.
    A result keeps at most `stream_bytes` of each stream. `redactors` are those created by the operation, by workspace
    id, so that its result can be redacted without reading the secrets again.
    """

    paths: Paths
    progress: Progress = field(default_factory=Silent)
    cancel: CancelToken | None = None
    on_output: Callable[[Stream, bytes], None] | None = None
    stdin: Input = None
    stream_bytes: int = MAX_STREAM_BYTES
    host_access: HostAccess | None = None
    redactors: dict[str, Redactor] = field(default_factory=dict[str, "Redactor"])


def engine(call: Call) -> Engine:
    """Return the engine for this call; use it as a context manager."""
    from pyro_mcp.workspace.engine import Engine

    return Engine(call.paths, progress=call.progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation(Generic[Q, R]):
    """One row of the table: everything that the surfaces need to offer an operation.

    Its summary is in `table`, the types of its request and result are those of `handler`. `description` is for
    models and people, and contains no data of any guest. `open_world` means that it may reach beyond this host,
    `idempotent` that repeating it has no further effect. `cli` is its command, `sdk` its method, `tool` its tool if
    that has a different name (None: it has no tool). `only` is an option of the command, with the one field of the
    result that it prints. `takes_stdin` means that -i passes stdin to the command, `is_detached` that it keeps
    running after the call.
    """

    name: str
    title: str
    description: str
    handler: Callable[[Q, Call], R]
    effect: Effect
    sdk: str
    cli: tuple[str, ...] | None = None
    tool: str | None = ""
    idempotent: bool = False
    open_world: bool = False
    tool_description: str = ""
    only: tuple[str, str] | None = None
    takes_stdin: bool = False
    is_detached: bool = False

    @property
    def mcp(self) -> str | None:
        """Return the name of its tool, or None."""
        return self.name if self.tool == "" else self.tool

    @property
    def request(self) -> type[Q]:
        """Return the type of its requests."""
        return next(iter(_types(self.handler).values()))

    @property
    def result(self) -> type[R]:
        """Return the type of its results."""
        return _types(self.handler)["return"]

    @property
    def annotations(self) -> Mapping[str, object]:
        """Return the tool annotations of MCP, all four and the title."""
        return {
            "title": self.title,
            "readOnlyHint": self.effect is Effect.READ,
            "destructiveHint": self.effect is Effect.DESTROY,
            "idempotentHint": self.idempotent or self.effect is Effect.READ,
            "openWorldHint": self.open_world,
        }


@cache
def _types(declared: object) -> dict[str, Any]:
    return get_type_hints(declared)


def result_of(kind: type[R], value: object, /, **given: object) -> R:
    """Make a result of this kind from the given fields and, for the others, from the fields of `value`.

    Nested results are made in the same way from the values in their places (from tuples, field by field). Times
    (`…_at`) become text, a command's arguments one line, and the exit code of a timed out command 124.
    """
    hints = _types(kind)
    missing = [each.name for each in fields(cast("Any", kind)) if each.name not in given]
    found = {name: getattr(value, name) for name in missing}
    if isinstance(value, Captured) and value.timed_out:
        found["exit_code"] = TIMED_OUT
    return kind(**{name: _shown(name, each, hints[name]) for name, each in (given | found).items()})


def _shown(name: str, value: object, hint: object) -> object:
    if isinstance(value, float) and name.endswith("_at"):
        return utc_text(value)
    if name == "command" and isinstance(value, (tuple, list)):
        import shlex

        return shlex.join(cast("tuple[str, ...]", value))
    kinds = [each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Result)]
    if not kinds or value is None or isinstance(value, Result):
        return value
    if get_origin(hint) is list:
        return [_shown(name, each, kinds[0]) for each in cast("tuple[object, ...]", value)]
    return kinds[0](*cast("tuple[object, ...]", value)) if isinstance(value, tuple) else result_of(kinds[0], value)


def utc_text(epoch_s: float) -> str:
    """Return a time (seconds since the epoch) as text, such as 2026-09-21T10:00:00.123Z."""
    whole, milliseconds = divmod(round(epoch_s * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"
