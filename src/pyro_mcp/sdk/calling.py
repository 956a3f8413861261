"""Run an operation for a method of `Pyro`, and convert Python arguments to request fields."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.host.progress import Progress
    from pyro_mcp.operations.operation import Operation
    from pyro_mcp.operations.runner import Runner

Q = TypeVar("Q")
R = TypeVar("R")


class Calling:
    """The base of classes whose methods are operations."""

    def __init__(self, runner: Runner, progress: Progress | None) -> None:
        self.runner = runner
        self._progress = progress

    def _do(self, operation: Operation[Q, R], request: Q) -> R:
        call = self.runner.call()
        if self._progress is not None:
            call = replace(call, progress=self._progress)
        return self.runner.run(operation, request, call)


def as_command(command: str | Sequence[str]) -> str | tuple[str, ...]:
    """Return a command as requests hold it."""
    return command if isinstance(command, str) else tuple(command)


def as_texts(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return a list of texts as requests hold it."""
    return None if texts is None else (texts,) if isinstance(texts, str) else tuple(texts)


def as_pairs(pairs: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return texts by name as requests hold them."""
    return None if pairs is None else dict(pairs)


def as_records(records: Sequence[Mapping[str, str]] | None) -> tuple[dict[str, str], ...] | None:
    """Return a list of objects as requests hold it."""
    return None if records is None else tuple(dict(each) for each in records)


def as_path(path: str | os.PathLike[str]) -> str:
    """Return a path of the host as requests hold it."""
    return os.fspath(path)
