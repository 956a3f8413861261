"""Requests to an agent and its answers, as values: encode the requests, and validate the answers."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.documents import DocumentError, decode_strict, encode_document
from pyro_mcp.protocol.names import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.host.network.guest import GuestNetwork
    from pyro_mcp.protocol.documents import Document

_CONFIGURE = struct.Struct(wire.CONFIGURE_FORMAT)
_EXEC = struct.Struct(wire.EXEC_FORMAT)
_MAX_HOSTNAME_CHARS = 64
_MACHINE_ID_CHARS = 32
_MAX_TIMEOUT_MS = 0xFFFFFFFF
_MAX_TEXT_CHARS = 100
_MAX_FEATURES = 64
_MAX_EXIT_CODE = 255


class Stream(StrEnum):
    """An output stream of a command."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Flavour(StrEnum):
    """The purpose of a template."""

    #: Its root disk is already mounted, and each clone gets a copy of it.
    FRESH = wire.FRESH
    #: Its clones mount an existing root disk.
    ATTACH = wire.ATTACH


class RootDisk(StrEnum):
    """How `configure` treats the root disk."""

    MOUNTED = wire.ROOT_MOUNTED
    ATTACH = wire.ROOT_ATTACH


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """The identity and disks of one particular guest. The current time is added when it is sent.

    With `workspace`, the workspace disk is mounted on /workspace. With `inspect`, which requires a template of flavour
    `attach`, no command runs and nothing is written to the disks: their files can only be listed and read.
    `certificates` (file names to PEM texts) are added to the environment's trust store.
    """

    hostname: str
    machine_id: str
    network: GuestNetwork | None = None
    root: RootDisk = RootDisk.MOUNTED
    workspace: bool = False
    inspect: bool = False
    certificates: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    entropy: bytes = field(default_factory=lambda: os.urandom(wire.ENTROPY_BYTES), repr=False)

    def __post_init__(self) -> None:
        """Validate the fixed-size fields.

        Raises:
            PyroError: INVALID.
        """
        if not 0 < len(self.hostname) <= _MAX_HOSTNAME_CHARS or not self.hostname.isascii():
            raise PyroError(ErrorCode.INVALID, f"{self.hostname[:_MAX_TEXT_CHARS]!r} is not a valid host name")
        if len(self.machine_id) != _MACHINE_ID_CHARS or not self.machine_id.isalnum():
            raise PyroError(ErrorCode.INVALID, f"{self.machine_id[:_MAX_TEXT_CHARS]!r} is not a machine id")
        if len(self.entropy) != wire.ENTROPY_BYTES:
            raise PyroError(ErrorCode.INVALID, f"{len(self.entropy)} bytes of entropy instead of {wire.ENTROPY_BYTES}")

    def body(self) -> bytes:
        """Return the frame's body, with the current time."""
        rest: dict[str, object] = {}
        if self.network is not None:
            rest["network"] = self.network.to_json()
        if self.root is not RootDisk.MOUNTED:
            rest["root"] = self.root.value
        for field_name, wanted in ((wire.WORKSPACE, self.workspace), (wire.INSPECT, self.inspect)):
            if wanted:
                rest[field_name] = True
        if self.certificates:
            rest[wire.CERTIFICATES] = dict(self.certificates)
        name = self.hostname.encode("ascii")
        fixed = _CONFIGURE.pack(time.time_ns(), self.entropy, self.machine_id.encode("ascii"), len(name))
        return fixed + name + (encode_document(rest) if rest else b"")


class Request(Protocol):
    """A request with streams that ends with a result, such as a command or a task."""

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Return after how many seconds the guest ends it; None means never."""
        ...

    @property
    def what(self) -> str:
        """Return a description that completes "the guest could not …"."""
        ...

    def body(self, *, stdin: bool) -> bytes:
        """Return the frame's body.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command. Bytes that are not UTF-8 are represented as surrogates, as by `os.fsdecode`.

    `env` is added to the agent's default environment. After `timeout_s` seconds, if not None, the command is killed
    with all its descendants. With `is_last`, the agent does not prepare a process for another command. With `is_line`,
    the arguments are a shell, -c and a command line, which is run by bash if the guest has it. The default `user` is
    root. With `merge_stderr`, stderr is merged into stdout.
    """

    argv: tuple[str, ...]
    timeout_s: float | None
    cwd: str = WORKSPACE
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    is_last: bool = False
    is_line: bool = False
    user: str = ""
    merge_stderr: bool = False

    def __post_init__(self) -> None:
        """Refuse what execve(2) can't represent.

        Raises:
            PyroError: INVALID.
        """
        if not self.argv:
            raise PyroError(ErrorCode.INVALID, "no command to run", hint="Give one after `--`.")
        for text in (*self.argv, self.cwd, self.user, *self.env, *self.env.values()):
            if "\0" in text:
                raise PyroError(
                    ErrorCode.INVALID,
                    f"{text[:_MAX_TEXT_CHARS]!r} contains a NUL character",
                    hint="Arguments, variables and paths can't contain one; pass such data on stdin or in a file.",
                )
        if any(not name or "=" in name for name in self.env):
            raise PyroError(ErrorCode.INVALID, "the name of a variable is empty or contains `=`")

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        return wire.EXEC

    @property
    def what(self) -> str:
        """Return the description of the request."""
        return "run the command"

    def body(self, *, stdin: bool) -> bytes:
        """Return the frame's body.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        flags = (wire.EXEC_STDIN if stdin else 0) | (wire.EXEC_LAST if self.is_last else 0)
        flags |= (wire.EXEC_LINE if self.is_line else 0) | (wire.EXEC_USER if self.user else 0)
        flags |= wire.EXEC_MERGE if self.merge_stderr else 0
        timeout_ms = 0 if self.timeout_s is None else _milliseconds(self.timeout_s)
        texts = [self.cwd, *self.argv, *(f"{name}={value}" for name, value in self.env.items())]
        texts += [self.user] if self.user else []
        body = _EXEC.pack(timeout_ms, flags, len(self.argv), len(self.env)) + b"".join(
            os.fsencode(text) + b"\0" for text in texts
        )
        if len(body) > wire.MAX_EXEC_BYTES:
            raise PyroError(
                ErrorCode.INVALID,
                f"the arguments and variables of {self.argv[0][:_MAX_TEXT_CHARS]!r} take {len(body)} bytes, but the"
                f" limit is {wire.MAX_EXEC_BYTES}",
                hint="Pass the data on stdin or in a file.",
            )
        return body


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task of the agent. `fields` are its parameters; `flags` are those of `protocol.tasks`."""

    name: str
    what: str
    timeout_s: float
    fields: Mapping[str, object]
    flags: int = 0
    #: How long it may make no progress; None for a task that may be silent.
    stall_s: float | None = None

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        return wire.TASK

    def body(self, *, stdin: bool) -> bytes:
        """Return the frame's body, which does not depend on `stdin`.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        del stdin
        try:
            document = encode_document({"task": self.name, **self.fields})
        except DocumentError as error:
            raise PyroError(ErrorCode.INVALID, f"the guest can't {self.what}: {error}") from None
        return tasks.TASK.pack(_milliseconds(self.timeout_s), self.flags) + document


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """A request whose body is a JSON document: for shells or services. `kind` is the kind of its frame."""

    kind: int
    what: str
    timeout_s: float
    fields: Mapping[str, object]

    def body(self, *, stdin: bool = False) -> bytes:
        """Return the frame's body.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        del stdin
        try:
            return encode_document(self.fields)
        except DocumentError as error:
            raise PyroError(
                ErrorCode.INVALID, f"the guest can't {self.what}: {error}", hint="Send less at once."
            ) from None


def _milliseconds(timeout_s: float) -> int:
    # A longer timeout is practically unlimited.
    return min(max(1, int(timeout_s * 1000)), _MAX_TIMEOUT_MS)


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended. `exit_code` is 128 + N if signal N killed it."""

    exit_code: int
    timed_out: bool
    oom_killed: bool
    duration_ms: int
    stdout_bytes: int
    stderr_bytes: int


@dataclass(frozen=True, slots=True)
class GuestInfo:
    """An agent's description of itself, which is not trusted."""

    generation: int
    agent: str
    features: tuple[str, ...]
    configured: bool


def decode(body: bytes) -> Document:
    """Decode and validate a guest's JSON.

    Raises:
        PyroError: PROTOCOL.
    """
    try:
        return decode_strict(body)
    except DocumentError as error:
        raise breach(str(error)) from None


def guest_info(document: Document) -> GuestInfo:
    """Validate READY's document.

    Raises:
        PyroError: PROTOCOL.
    """
    generation, features = document.get("generation"), document.get("features", [])
    if type(generation) is not int or type(features) is not list or len(cast("list[object]", features)) > _MAX_FEATURES:
        raise breach("an invalid READY")
    return GuestInfo(
        generation=generation,
        agent=str(document.get("agent", ""))[:_MAX_TEXT_CHARS],
        features=tuple(str(feature)[:_MAX_TEXT_CHARS] for feature in cast("list[object]", features)),
        configured=document.get("configured") is True,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a command, as claimed by the agent."""

    exit_code: int
    timed_out: bool
    cancelled: bool
    oom_killed: bool
    duration_ms: int


def verdict(document: Document) -> Verdict:
    """Validate a command's RESULT.

    Raises:
        PyroError: PROTOCOL.
    """
    code, duration_ms = document.get("exit_code"), document.get("duration_ms")
    if type(code) is not int or not 0 <= code <= _MAX_EXIT_CODE or type(duration_ms) is not int or duration_ms < 0:
        raise breach("a result without a valid exit code or duration")
    return Verdict(
        exit_code=code,
        timed_out=document.get("timed_out") is True,
        cancelled=document.get("cancelled") is True,
        oom_killed=document.get("oom_killed") is True,
        duration_ms=duration_ms,
    )


def printable(words: str, most: int) -> str:
    """Return the beginning of a guest's own text, with control characters replaced by `?`."""
    return "".join(each if each.isprintable() else "?" for each in words[:most])


def breach(what: str) -> PyroError:
    """Return the error for a protocol violation by the guest."""
    return PyroError(
        ErrorCode.PROTOCOL,
        f"the guest agent violated the protocol: {what}",
        hint="The guest may have been tampered with from inside; delete it and create another.",
    )
