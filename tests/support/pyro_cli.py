"""Run `pyro` as its users do, in a process of its own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pyro_mcp.host import process

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

TIMEOUT_S = 110.0
COMMAND = (sys.executable, "-m", "pyro_mcp")


def pyro(*words: str, input: bytes | None = None) -> process.Completed:  # noqa: A002 - as process.run
    """Run `pyro` to its end, whatever its exit status."""
    return process.run([*COMMAND, *words], input=input, timeout_s=TIMEOUT_S, check=False)


def pyro_json(*words: str) -> dict[str, Any]:
    """Run `pyro … --json` and return its document; it must succeed."""
    at = words.index("--") if "--" in words else len(words)
    done = pyro(*words[:at], "--json", *words[at:])
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def starting_pyro(*words: str, stdout: int | None = process.PIPE) -> AbstractContextManager[process.Child]:
    """Start `pyro`; its stderr is a pipe, and its stdout unless told otherwise."""
    return process.start([*COMMAND, *words], stdout=stdout, stderr=process.PIPE)
