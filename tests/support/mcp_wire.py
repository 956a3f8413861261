"""A server process, and the client's end of its stdin and stdout.

No guest is booted: a call does what the test's code says.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp import __version__
from pyro_mcp.host import process

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[2]
# `pyro mcp serve` whose calls do what the code says; `call` is what the server gave the operation.
SERVER = """
import os, select, sys
from pyro_mcp.cli.main import main
from pyro_mcp.mcp_server import server
from tests.support.fake_runner import FakeRunner, exec_result

def answer(operation, request, call):
    {guest}
    return exec_result()

class FakePyro:
    runner = FakeRunner(answer)

own = server.PyroServer
server.PyroServer = lambda chosen, _, access: own(chosen, FakePyro.runner, access)
sys.exit(main(["mcp", "serve", *sys.argv[1:]]))
"""
# Waits until it is cancelled, and takes a moment to give back what it has.
PATIENT = """
    with call.cancel.watch() as fd:
        os.write(2, b"begun\\n")
        select.select([fd], [], [])
    os.write(2, b"given back\\n")
"""
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
RUN = {"name": "vm_run", "arguments": {"environment": "debian:12", "command": "true"}}


class Wire:
    """The client's end of a server's stdin and stdout, one JSON document a line."""

    def __init__(self, child: process.Child) -> None:
        self.child = child
        self._held = b""

    def send(self, method: str, params: dict[str, Any] | None = None, *, ident: int | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        if ident is not None:
            message["id"] = ident
        self.put(json.dumps(message).encode())

    def put(self, line: bytes) -> None:
        """Send a line as it is."""
        assert self.child.stdin is not None
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(self.child.stdin, rest) :]

    def answer(self, ident: str | int) -> dict[str, Any]:
        """Return the answer to a request; everything else on stdout must be protocol too."""
        while True:
            document = json.loads(self.line())
            assert document["jsonrpc"] == "2.0"
            if document.get("id") == ident:
                return document

    def line(self) -> bytes:
        assert self.child.stdout is not None
        while b"\n" not in self._held:
            data = os.read(self.child.stdout, 65536)
            assert data, "the server closed its stdout"
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line

    def begin(self) -> None:
        self.send("initialize", INITIALIZE, ident=1)
        assert self.answer(1)["result"]["serverInfo"]["version"] == __version__
        self.send("notifications/initialized")

    def said(self, text: bytes) -> None:
        """Wait until the server has said `text` to a person."""
        assert self.child.stderr is not None
        seen = b""
        while text not in seen:
            data = os.read(self.child.stderr, 65536)
            assert data, seen
            seen += data


@contextmanager
def serving(guest: str = "pass", *words: str) -> Generator[Wire]:
    command = [sys.executable, "-c", SERVER.format(guest=guest), *words]
    with process.start(command, stdin=process.PIPE, stdout=process.PIPE, stderr=process.PIPE, cwd=ROOT) as child:
        yield Wire(child)
