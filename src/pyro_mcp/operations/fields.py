"""The fields of requests and results: their metadata, and how a surface reads it.

pydantic reads `description`, `ge`, `le`, `pattern` and `max_length` from `dataclasses.field(metadata=…)`; the other
keys are ours. This module imports no pydantic and resolves no annotations at run time: start-up would pay for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar, Unpack, cast, dataclass_transform

Q = TypeVar("Q")

SURFACES = "cli sdk mcp"
_REQUIRED: Any = MISSING


class Place(StrEnum):
    """Say where a field stands on the command line."""

    OPTION = "option"
    POSITIONAL = "positional"
    COMMAND = "command"  # everything after --


class Kind(StrEnum):
    """Name each type that a request's field may have, by its annotation."""

    TEXT = "str"
    OPTIONAL_TEXT = "str | None"
    WHOLE = "int"
    OPTIONAL_WHOLE = "int | None"
    NUMBER = "float | None"
    CLAIM = "bool"
    COMMAND = "str | tuple[str, ...]"
    TEXTS = "tuple[str, ...] | None"
    PAIRS = "dict[str, str] | None"
    RECORDS = "tuple[dict[str, str], ...] | None"
    CHECK = "dict[str, str | int] | None"
    PORTS = "tuple[dict[str, int | None], ...] | None"

    @property
    def is_whole(self) -> bool:
        """Say whether it is a number."""
        return self in {Kind.WHOLE, Kind.OPTIONAL_WHOLE}

    @property
    def has_range(self) -> bool:
        """Say whether it is a number, whole or not."""
        return self.is_whole or self is Kind.NUMBER

    @property
    def is_optional(self) -> bool:
        """Say whether it may be None."""
        return self.value.endswith(" | None")


class Parameter(NamedTuple):
    """One field of a request, as surfaces see it."""

    # A named tuple, since every command makes this class again, and a frozen dataclass takes ten times as long to make.

    name: str
    kind: Kind
    description: str
    required: bool
    default: object
    place: Place = Place.OPTION
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    max_length: int | None = None
    unit: str = ""
    form: str = ""
    names: str = ""
    completes: str = ""
    called: str = ""
    short: str = ""
    also: str = ""
    from_file: str = ""
    is_host_path: bool = False
    is_output: bool = False
    on: str = SURFACES

    @property
    def option(self) -> str:
        """Return the name of its command line option."""
        return self.called or "--" + self.name.replace("_", "-")


if TYPE_CHECKING:

    class About(TypedDict, total=False):
        """What may be told about a field of a request: what `Parameter` has, with its bounds as pydantic reads them."""

        ge: float
        le: float
        pattern: str
        max_length: int
        place: Place
        unit: str
        form: str
        names: str
        completes: str
        called: str
        short: str
        also: str
        from_file: str
        is_host_path: bool
        is_output: bool
        on: str


def about(description: str, **told: Unpack[About]) -> Mapping[str, object]:
    """Return the metadata of a request's field.

    `unit` is shown in help texts, `form` completes "Give …" when the value is refused, `names` is the word that
    stands for the value in usage lines, `completes` says what a shell may offer for it (`environment`, `workspace`).
    `called` is the option where it is not the field's name, `short` its one-letter form, `also` a second option
    that takes the value as people write it (5m, 2g), `from_file` one that names a file of the host with the value. A
    host path may be given to the SDK as any path; `is_output` marks one that is written. `on` names the
    surfaces that have the field.
    """
    return {"description": description, **told}


def asked(description: str, *, default: Q = _REQUIRED, **told: Unpack[About]) -> Q:
    """Declare a request's field; what may be told is as for `about`."""
    return field(default=default, metadata=about(description, **told))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, asked))
class Request:
    """The base of every request. A subclass declares its fields, in order."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


def said(description: str, *, guest: bool = False, rest: str = "", most: int = 0, last: bool = False) -> Any:  # noqa: ANN401 - the field's own type
    """Declare a result's field; `guest` marks text that a guest has written.

    Where a model reads it, `most` characters (of a text) or items (of a list) are shown, of a list the first or the
    `last`, and `rest` says how to get at what was left out.
    """
    known: dict[str, object] = {"description": description, "guest": guest, "rest": rest, "most": most, "last": last}
    return field(metadata={key: value for key, value in known.items() if value})


def parameters(request: type, surface: str = "") -> tuple[Parameter, ...]:
    """Return the fields of a request's class that a surface has, or all.

    What it must be given comes before what it inherits.
    """
    found: list[Parameter] = []
    inherited = {each.name for base in request.__mro__[1:] if is_dataclass(base) for each in fields(base)}
    for each in sorted(fields(request), key=lambda each: each.name in inherited or each.default is not MISSING):
        told = dict(each.metadata)
        if surface not in told.get("on", SURFACES):
            continue
        required = each.default is MISSING and each.default_factory is MISSING
        found.append(
            Parameter(
                name=each.name,
                kind=Kind(cast("str", each.type)),
                required=required,
                default=None if required else each.default,
                minimum=told.pop("ge", None),
                maximum=told.pop("le", None),
                **told,
            )
        )
    return tuple(found)


def with_host_paths(request: Q, change: Callable[[str, bool], str]) -> Q:
    """Return a request with its host paths changed; `change` gets each, and whether it is to be written."""
    changed: dict[str, object] = {}
    for each in parameters(type(request)):
        value = getattr(request, each.name)
        if each.is_host_path and value is not None:
            changed[each.name] = change(value, each.is_output)
        elif each.kind is Kind.RECORDS and value:
            changed[each.name] = tuple(
                {key: change(text, False) if key == "file_path" else text for key, text in record.items()}
                for record in cast("tuple[dict[str, str], ...]", value)
            )
    return cast("Q", replace(cast("Any", request), **changed)) if changed else request
