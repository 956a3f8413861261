"""The first answers of a server, given before the MCP SDK is loaded.

Loading takes most of a second, and Codex starts its turn without the tools of a server that has not answered by then.
`initialize`, `server/discover`, `tools/list` and `ping` are answered from a document that was generated with the
package. Everything else waits for the SDK, which is loaded meanwhile and is then given what it has missed. Standard
library only.
"""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from pyro_mcp import __version__

NAME, TITLE = "pyro-mcp", "pyro"
LISTINGS = Path(__file__).with_name("listings")
# As the SDK has them: a handshake's versions, of which another one is answered with the last, and the one without.
HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"

# A host sends what it has to ask at the start in one go. Loading earlier would take processor time from the answers.
_PAUSE_S = 0.1
_READ_BYTES = 64 * 1024
# More than this is left in the pipe until the SDK is there.
_HELD_BYTES = 1024 * 1024

_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_OPENING = ("initialize", "server/discover")


@dataclass(slots=True)
class Handover:
    """The lines that the SDK's server begins with, the ids whose answers the client has, and the start of a line."""

    lines: list[bytes] = field(default_factory=list[bytes])
    answered: set[str | int] = field(default_factory=set[str | int])
    rest: bytes = b""
    has_begun: bool = False
    #: Whether one of the lines is more than a notification, and has no answer yet.
    needs_sdk: bool = False

    @property
    def held_bytes(self) -> int:
        """Return how much waits for the SDK."""
        return len(self.rest) + sum(map(len, self.lines))

    def take(self, data: bytes, answers: FirstAnswers) -> None:
        """Answer the lines that `data` completes, or keep them.

        Raises:
            BrokenPipeError: the client has gone.
        """
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.has_begun = True
            request = _Request.of(line)
            result = None if request is None else answers.result(request)
            if request is None or result is None:
                self.lines.append(line)
                self.needs_sdk |= request is None or request.ident is not None
                continue
            _write({"jsonrpc": "2.0", "id": request.ident, "result": result})
            if request.method in _OPENING and request.ident is not None:
                # The SDK's server keeps track of these.
                self.lines.append(line)
                self.answered.add(request.ident)


class FirstAnswers:
    """What a server answers before it is loaded."""

    def __init__(self, listing: Mapping[str, object]) -> None:
        self._tools = {"tools": listing["tools"]}
        self._server = {"name": NAME, "title": TITLE, "version": __version__}
        self._greeting: dict[str, object] = {
            "capabilities": {"tools": {"listChanged": False}},
            "instructions": listing["instructions"],
        }
        self._initialized = False

    def result(self, request: _Request) -> dict[str, object] | None:
        """Return the result for a request, or None for what only the SDK can answer."""
        if request.ident is None:
            return None
        match request.method:
            case "initialize" if _is_handshake(request.params):
                self._initialized = True
                wanted = cast("str", request.params["protocolVersion"])
                version = wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
                return {**self._greeting, "protocolVersion": version, "serverInfo": self._server}
            case "server/discover" if request.is_modern:
                return self._modern({**self._greeting, "supportedVersions": [MODERN_VERSION]})
            case "tools/list" if "cursor" not in request.params and request.is_modern:
                return self._modern(self._tools)
            case "tools/list" if "cursor" not in request.params and self._initialized and not request.has_version:
                return self._tools
            case "ping" if self._initialized and not request.has_version:
                return {}
            case _:
                return None

    def _modern(self, result: dict[str, object]) -> dict[str, object]:
        meta = {_SERVER_KEY: self._server}
        return {**result, "resultType": "complete", "cacheScope": "private", "ttlMs": 0, "_meta": meta}


@dataclass(frozen=True, slots=True)
class _Request:
    """A request, or without an id a notification, whose envelope is beyond doubt."""

    ident: str | int | None
    method: str
    params: dict[str, object]

    @staticmethod
    def of(line: bytes) -> _Request | None:
        try:
            message: object = json.loads(line.decode())
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict):
            return None
        document = cast("dict[str, object]", message)
        ident, method, params = document.get("id"), document.get("method"), document.get("params", {})
        if document.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
            return None
        if "id" in document and (
            isinstance(ident, bool) or not isinstance(ident, (str, int)) or not str(ident).isascii()
        ):
            return None
        return _Request(cast("str | int | None", ident), method, cast("dict[str, object]", params))

    @property
    def meta(self) -> dict[str, object]:
        """Return what stands beside the parameters."""
        meta = self.params.get("_meta")
        return cast("dict[str, object]", meta) if isinstance(meta, dict) else {}

    @property
    def has_version(self) -> bool:
        """Say whether the request brings its protocol version."""
        return _VERSION_KEY in self.meta

    @property
    def is_modern(self) -> bool:
        """Say whether it is a request of the revision without a handshake, and complete."""
        meta = self.meta
        return (
            meta.get(_VERSION_KEY) == MODERN_VERSION
            and _is_implementation(meta.get("io.modelcontextprotocol/clientInfo"))
            and isinstance(meta.get("io.modelcontextprotocol/clientCapabilities"), dict)
        )


def _is_handshake(params: Mapping[str, object]) -> bool:
    return (
        isinstance(params.get("protocolVersion"), str)
        and isinstance(params.get("capabilities"), dict)
        and _is_implementation(params.get("clientInfo"))
    )


def _is_implementation(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    document = cast("dict[str, object]", value)
    return isinstance(document.get("name"), str) and isinstance(document.get("version"), str)


def listing_of(profile: str) -> dict[str, object]:
    """Return the instructions and the tools of a profile, as `tools/list` shows them."""
    return json.loads((LISTINGS / f"{profile}.json").read_bytes())


def _write(message: dict[str, object]) -> None:
    data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def answer_first(answers: FirstAnswers, load: Callable[[], object]) -> Handover | None:
    """Answer on stdin and stdout until `load`, run in a thread, has returned; None if the client leaves before.

    The thread starts when there is something that only the SDK can answer, or when the client pauses.
    """
    handover = Handover()
    poller = select.poll()
    poller.register(0, select.POLLIN)
    with _Loader(load) as loader, suppress(BrokenPipeError):
        poller.register(loader.done, select.POLLIN)
        while True:
            waiting_s = None if loader.has_started or not handover.has_begun else _PAUSE_S
            ready = [fd for fd, _ in poller.poll(None if waiting_s is None else waiting_s * 1000)]
            if loader.done in ready:
                return handover
            data = os.read(0, _READ_BYTES) if ready else b""
            handover.take(data, answers)
            if ready and not data and not handover.needs_sdk and not handover.rest:
                return None
            if ready and (not data or handover.held_bytes > _HELD_BYTES):
                # The SDK's reader finds the end of the input again.
                poller.unregister(0)
            if not data or handover.needs_sdk or handover.held_bytes > _HELD_BYTES:
                loader.start()
    return None


class _Loader:
    """The thread that loads what takes long; `done` becomes readable when it has."""

    def __init__(self, load: Callable[[], object]) -> None:
        self._load = load
        self.done, self._writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="mcp-loader")
        self.has_started = False

    def start(self) -> None:
        if not self.has_started:
            self.has_started = True
            self._thread.start()

    def _run(self) -> None:
        try:
            self._load()
        finally:
            # Where it failed, the caller meets the error again when it imports.
            os.write(self._writer, b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.has_started:
            self._thread.join()
        os.close(self.done)
        os.close(self._writer)
