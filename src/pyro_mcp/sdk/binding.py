"""Derive methods of objects from those of `Pyro`, with exact types and without repeating the parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class _Bound(Generic[P, R]):
    """A method whose first arguments are bound: the `Pyro` and the names of the object."""

    def __init__(self, method: Callable[..., Any], make: Callable[..., R] | None = None) -> None:
        self._method, self._make = method, make
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, has_it: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, has_it: object, owner: type) -> Callable[P, R]: ...
    def __get__(self, has_it: object, owner: type) -> Callable[..., R]:
        call = self._call if has_it is None else partial(self._call, has_it)
        return update_wrapper(partial(call), self._method)

    def _call(self, has_it: Any, /, *args: Any, **given: Any) -> R:  # noqa: ANN401 - typed by the descriptor
        result = self._method(has_it.pyro, *has_it.names, *args, **given)
        return cast("R", result) if self._make is None else self._make(has_it, result)


def of_workspace(method: Callable[Concatenate[Any, str, P], R]) -> _Bound[P, R]:
    """Return a method without the workspace's id."""
    return _Bound(method)


def of_part(method: Callable[Concatenate[Any, str, str, P], R]) -> _Bound[P, R]:
    """Return a method without the ids of the workspace and of its shell or service."""
    return _Bound(method)


def making(method: Callable[Concatenate[Any, str, P], R], make: Callable[[Any, R], S]) -> _Bound[P, S]:
    """Return a method without the workspace's id, whose result is wrapped."""
    return _Bound(method, make)
