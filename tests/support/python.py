"""Run Python code in other processes, for tests of how processes share state."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.host import process

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

TIMEOUT_S = 30.0


def run_python(
    code: str, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> process.Completed:
    """Run `code` in a fresh interpreter, to its end, whatever its status."""
    return process.run(
        _command(code, arguments), timeout_s=TIMEOUT_S, check=False, env={**os.environ, **(env or {})}, input=stdin
    )


@contextmanager
def python_that_says_ready(code: str, *arguments: str) -> Generator[process.Child]:
    """Run `code` until it prints a line; kill it on leaving."""
    with process.start(_command(code, arguments), stdin=process.PIPE, stdout=process.PIPE, stderr=None) as child:
        assert child.stdout is not None
        assert os.read(child.stdout, 100), "it ended before it was ready"
        yield child


def _command(code: str, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-c", code, *arguments]
