"""The fields of requests and results: their metadata, and access to it for surfaces.

pydantic reads `description`, `ge`, `le`, `pattern` and `max_length` from `dataclasses.field(metadata=…)`; the other
keys are ours. This module does not import pydantic or resolve annotations at run time: both would slow start-up.
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
    """The place of a field on the command line."""

    OPTION = "option"
    POSITIONAL = "positional"
    COMMAND = "command"  # everything after --


class Kind(StrEnum):
    """The types that a request's field may have, by their annotations."""

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
        """Return whether it is a whole number."""
        return self in {Kind.WHOLE, Kind.OPTIONAL_WHOLE}

    @property
    def has_range(self) -> bool:
        """Return whether it is a number, whole or not."""
        return self.is_whole or self is Kind.NUMBER

    @property
    def is_optional(self) -> bool:
        """Return whether it may be None."""
        return self.value.endswith(" | None")


class Parameter(NamedTuple):
    """A field of a request, as surfaces use it."""

    # A named tuple, since every process creates this class, and a frozen dataclass takes ten times as long to create.

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
        """The metadata of a request's field: the fields of `Parameter`, with bounds named as pydantic reads them."""

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

    `unit` is shown in help texts, `form` completes "Give …" if the value is invalid, `names` is the placeholder of the
    value in usage lines, `completes` is the kind of completion that a shell offers (`environment`, `workspace`).
    `called` is the option if it differs from the field's name, `short` its one-letter form, `also` a second option for
    human-readable values (5m, 2g), `from_file` an option that names a file of the host with the value. The SDK accepts
    any path-like object as a host path; `is_output` marks one that is written. `on` lists the surfaces that have the
    field.
    """
    return {"description": description, **told}


def asked(description: str, *, default: Q = _REQUIRED, **told: Unpack[About]) -> Q:
    """Declare a request's field; the keyword arguments are those of `about`."""
    return field(default=default, metadata=about(description, **told))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, asked))
class Request:
    """The base of every request. A subclass declares its fields, in order."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


def said(description: str, *, guest: bool = False, rest: str = "", most: int = 0, last: bool = False) -> Any:  # noqa: ANN401 - the field's own type
    """Declare a result's field; `guest` marks text written by a guest.

    A model is shown at most `most` characters (of a text) or items (of a list: the first ones, or the `last` ones), and
    `rest` tells it how to get the remainder.
    """
    known: dict[str, object] = {"description": description, "guest": guest, "rest": rest, "most": most, "last": last}
    return field(metadata={key: value for key, value in known.items() if value})


def parameters(request: type, surface: str = "") -> tuple[Parameter, ...]:
    """Return the fields of a request's class that a surface has, by default all.

    Required fields come before inherited ones.
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
    """Return a request with its host paths changed; `change` gets each path, and whether it is an output."""
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
