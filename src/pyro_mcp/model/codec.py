"""Convert records to and from JSON: a dataclass is an object, and a nested dataclass is the list of its fields.

A damaged record is rejected: a field of the wrong type, or a number out of range. Unknown fields are ignored and
missing ones get their default, so that fields can be added.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin

from pyro_mcp.errors import ErrorCode, PyroError

T = TypeVar("T")

_MAX_NUMBER = 2**63 - 1
# The end of the year 9999: later times, and NaN, can't be converted to a date.
_MAX_TIME_S = 253402300799


def to_json(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return a record as a JSON object, or any other value in the form it has inside a record."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return _plain(value)


def from_json(kind: type[T], document: object) -> T:
    """Return the record of this kind from the result of `to_json`.

    Raises:
        PyroError: CORRUPT.
    """
    try:
        return cast("T", reader_of(kind)(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise PyroError(ErrorCode.CORRUPT, f"a record is damaged: {error}") from error


@cache
def field_readers(kind: type[Any]) -> Mapping[str, Callable[[object], Any]]:
    """Return a decoder for each field, which raises TypeError or ValueError."""
    names = {each.name: str(each.type) for each in fields(kind)}
    # All in one eval: every start reads records, and typing.get_type_hints takes four times as long.
    hints = eval(f"({','.join(names.values())},)", vars(sys.modules[kind.__module__]))  # noqa: S307 - our own source
    return {name: reader_of(hint) for name, hint in zip(names, hints, strict=True)}


def reader_of(hint: Any) -> Callable[[object], Any]:  # noqa: ANN401 - any annotation
    """Return a decoder for values of this type, which raises TypeError or ValueError."""
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_record, hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        first, last = arguments
        if last is NoneType:
            read = reader_of(first)
            return lambda value: None if value is None else read(value)
        read_text, read_other = reader_of(first), reader_of(last)
        return lambda value: read_text(value) if isinstance(value, str) else read_other(value)
    if origin is tuple and arguments[-1] is Ellipsis:
        each_of = reader_of(arguments[0])
        return lambda value: tuple(each_of(each) for each in _list(value))
    if origin is tuple:
        readers = [reader_of(each) for each in arguments]
        return lambda value: tuple(read(each) for read, each in zip(readers, _list(value), strict=True))
    if origin is Mapping:
        value_of = reader_of(arguments[1])
        return lambda value: {name: value_of(each) for name, each in _object(value).items()}
    return cast("Callable[[object], Any]", hint)


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if is_dataclass(value):
        return [_plain(getattr(value, each.name)) for each in fields(value)]
    return value


def _record(kind: type[Any], value: object) -> object:
    readers = field_readers(kind)
    if isinstance(value, list):
        named = zip(readers, cast("list[object]", value), strict=True)
        return kind(**{name: readers[name](each) for name, each in named})
    document = _object(value)
    return kind(**{name: read(document[name]) for name, read in readers.items() if name in document})


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("a JSON object was expected")
    return cast("dict[str, object]", value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a JSON array was expected")
    return cast("list[object]", value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value} is out of range")
    return value


def _time(value: object) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a time")
    if not 0 <= value <= _MAX_TIME_S:
        raise ValueError(f"{value} is out of range")
    return float(value)


def _flag(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither true nor false")
    return bool(value)


_PLAIN: dict[object, Callable[[object], Any]] = {
    str: _text,
    int: _number,
    float: _time,
    bool: _flag,
    object: lambda value: value,
}
