"""Methods to await, made from those that block. A program that awaits nothing does not load asyncio for them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from pyro_mcp.sdk.calling import CANCEL

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
# Threads that wait for guests, not for processors.
MAX_CALLS = 64


class Calls:
    """The threads of an `AsyncPyro`."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._threads = ThreadPoolExecutor(MAX_CALLS, "pyro")

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call in a thread, and cancel it with this coroutine."""
        import asyncio

        from pyro_mcp.agent import CancelToken

        token, context = CancelToken(), copy_context()
        context.run(CANCEL.set, token)
        future = asyncio.get_running_loop().run_in_executor(self._threads, partial(context.run, call))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            token.cancel()
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            # Its outcome no longer matters.
            future.exception()
            raise

    def close(self) -> None:
        """Let the threads end when their calls do."""
        self._threads.shutdown(wait=False)


class Asynchronous(Generic[S]):
    """The base of asynchronous wrappers of objects with blocking methods."""

    def __init__(self, calls: Calls, sync: S) -> None:
        self.calls, self.sync = calls, sync


class _Method(Generic[P, R]):
    def __init__(
        self, method: Callable[Concatenate[Any, P], Any], make: Callable[[Calls, Any], R] | None = None
    ) -> None:
        self._method, self._make = method, make
        self.__doc__ = method.__doc__

    def __get__(self, has_it: Asynchronous[Any] | None, owner: type) -> Callable[P, Coroutine[Any, Any, R]]:
        call = self._call if has_it is None else partial(self._call, has_it)
        return update_wrapper(partial(call), self._method)

    async def _call(self, has_it: Any, /, *args: Any, **given: Any) -> Any:  # noqa: ANN401 - typed by the descriptor
        done = await has_it.calls.run(partial(self._method, has_it.sync, *args, **given))
        return done if self._make is None else self._make(has_it.calls, done)


def awaited(method: Callable[Concatenate[Any, P], R]) -> _Method[P, R]:
    """Return a method that is awaited."""
    return _Method(method)


def making(method: Callable[Concatenate[Any, P], R], make: Callable[[Calls, R], S]) -> _Method[P, S]:
    """Return a method that is awaited, whose result is wrapped."""
    return _Method(method, make)
