"""Requests to an agent and its answers, as values: their form on the wire, and the checks of what a guest answered."""

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
    """Name a stream that a command writes."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Flavour(StrEnum):
    """Say what a template is made for."""

    #: Its root disk is mounted: each clone gets a copy of it.
    FRESH = wire.FRESH
    #: A clone mounts a root disk that already exists.
    ATTACH = wire.ATTACH


class RootDisk(StrEnum):
    """Say what `configure` is to do about the root disk."""

    MOUNTED = wire.ROOT_MOUNTED
    ATTACH = wire.ROOT_ATTACH


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """The values that make a clone one particular guest. The clock's time is added when it is sent.

    With `workspace` it has the workspace's disk on /workspace. With `inspect`, which takes a template of the flavour
    `attach`, nothing runs in it and nothing is written to its disks: their files can be listed and read.
    """

    hostname: str
    machine_id: str
    network: GuestNetwork | None = None
    root: RootDisk = RootDisk.MOUNTED
    workspace: bool = False
    inspect: bool = False
    entropy: bytes = field(default_factory=lambda: os.urandom(wire.ENTROPY_BYTES), repr=False)

    def __post_init__(self) -> None:
        """Refuse what would not fit its place.

        Raises:
            PyroError: INVALID.
        """
        if not 0 < len(self.hostname) <= _MAX_HOSTNAME_CHARS or not self.hostname.isascii():
            raise PyroError(ErrorCode.INVALID, f"{self.hostname[:_MAX_TEXT_CHARS]!r} can't be a guest's host name")
        if len(self.machine_id) != _MACHINE_ID_CHARS or not self.machine_id.isalnum():
            raise PyroError(ErrorCode.INVALID, f"{self.machine_id[:_MAX_TEXT_CHARS]!r} is not a machine id")
        if len(self.entropy) != wire.ENTROPY_BYTES:
            raise PyroError(ErrorCode.INVALID, f"{len(self.entropy)} bytes of entropy instead of {wire.ENTROPY_BYTES}")

    def body(self) -> bytes:
        """Return the frame's body, as of now."""
        rest: dict[str, object] = {}
        if self.network is not None:
            rest["network"] = self.network.to_json()
        if self.root is not RootDisk.MOUNTED:
            rest["root"] = self.root.value
        for field_name, wanted in ((wire.WORKSPACE, self.workspace), (wire.INSPECT, self.inspect)):
            if wanted:
                rest[field_name] = True
        name = self.hostname.encode("ascii")
        fixed = _CONFIGURE.pack(time.time_ns(), self.entropy, self.machine_id.encode("ascii"), len(name))
        return fixed + name + (encode_document(rest) if rest else b"")


class Request(Protocol):
    """A request that has streams and ends with a result: a command, or a task of the agent's own."""

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Return after how many seconds the guest ends it; None is never."""
        ...

    @property
    def what(self) -> str:
        """Return what the guest is asked to do, to complete "the guest could not …"."""
        ...

    def body(self, *, stdin: bool) -> bytes:
        """Return the frame's body.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command. Bytes that are not UTF-8 are surrogates, as `os.fsdecode` makes them.

    `env` is added to what the agent gives every command. It is killed, with all that descends from it, after
    `timeout_s` seconds, if that is not None. With `is_last`, no other command is expected, and the agent makes nothing
    ready for one. With `is_line`, the arguments are a shell, -c and a command line, which bash runs instead where the
    guest has it. Without a `user` it is root's. With `merge_stderr`, what it writes to stderr comes in stdout.
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
        """Refuse what no kernel would run.

        Raises:
            PyroError: INVALID.
        """
        if not self.argv:
            raise PyroError(ErrorCode.INVALID, "there is no command to run", hint="Give one after `--`.")
        for text in (*self.argv, self.cwd, self.user, *self.env, *self.env.values()):
            if "\0" in text:
                raise PyroError(
                    ErrorCode.INVALID,
                    f"{text[:_MAX_TEXT_CHARS]!r} holds a NUL character",
                    hint="No argument, variable or path can hold one; pass such data on stdin or in a file.",
                )
        if any(not name or "=" in name for name in self.env):
            raise PyroError(ErrorCode.INVALID, "the name of a variable is empty or holds a `=`")

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        return wire.EXEC

    @property
    def what(self) -> str:
        """Return what the guest is asked to do."""
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
                f"the arguments and variables of {self.argv[0][:_MAX_TEXT_CHARS]!r} take {len(body)} bytes, of at most"
                f" {wire.MAX_EXEC_BYTES}",
                hint="Pass the data on stdin or in a file.",
            )
        return body


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task of the agent's own. `fields` are what it needs to know; `flags` are those of `protocol.tasks`."""

    name: str
    what: str
    timeout_s: float
    fields: Mapping[str, object]
    flags: int = 0
    #: How long its data may stand still, or trickle; None for a task that may be silent.
    stall_s: float | None = None

    @property
    def kind(self) -> int:
        """Return the kind of its frame."""
        return wire.TASK

    def body(self, *, stdin: bool) -> bytes:
        """Return the frame's body. A task without a stdin does not ask for one.

        Raises:
            PyroError: INVALID if it is too long for a frame.
        """
        del stdin
        try:
            document = encode_document({"task": self.name, **self.fields})
        except DocumentError as error:
            raise PyroError(ErrorCode.INVALID, f"the guest can't be asked to {self.what}: {error}") from None
        return tasks.TASK.pack(_milliseconds(self.timeout_s), self.flags) + document


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """A request that is a document: about shells or services. `kind` is that of its frame."""

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
    # A deadline that far is none.
    return min(max(1, int(timeout_s * 1000)), _MAX_TIMEOUT_MS)


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended. `exit_code` is 128 and the signal's number for one that a signal ended."""

    exit_code: int
    timed_out: bool
    oom_killed: bool
    duration_ms: int
    stdout_bytes: int
    stderr_bytes: int


@dataclass(frozen=True, slots=True)
class GuestInfo:
    """An agent's description of itself. It may be lying."""

    generation: int
    agent: str
    features: tuple[str, ...]
    configured: bool


def decode(body: bytes) -> Document:
    """Return a guest's JSON, after every check.

    Raises:
        PyroError: PROTOCOL.
    """
    try:
        return decode_strict(body)
    except DocumentError as error:
        raise breach(str(error)) from None


def guest_info(document: Document) -> GuestInfo:
    """Check READY's document.

    Raises:
        PyroError: PROTOCOL.
    """
    generation, features = document.get("generation"), document.get("features", [])
    if type(generation) is not int or type(features) is not list or len(cast("list[object]", features)) > _MAX_FEATURES:
        raise breach("a READY that makes no sense")
    return GuestInfo(
        generation=generation,
        agent=str(document.get("agent", ""))[:_MAX_TEXT_CHARS],
        features=tuple(str(feature)[:_MAX_TEXT_CHARS] for feature in cast("list[object]", features)),
        configured=document.get("configured") is True,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a command as the agent claims it."""

    exit_code: int
    timed_out: bool
    cancelled: bool
    oom_killed: bool
    duration_ms: int


def verdict(document: Document) -> Verdict:
    """Check a command's RESULT.

    Raises:
        PyroError: PROTOCOL.
    """
    code, duration_ms = document.get("exit_code"), document.get("duration_ms")
    if type(code) is not int or not 0 <= code <= _MAX_EXIT_CODE or type(duration_ms) is not int or duration_ms < 0:
        raise breach("a result without an exit code or a duration")
    return Verdict(
        exit_code=code,
        timed_out=document.get("timed_out") is True,
        cancelled=document.get("cancelled") is True,
        oom_killed=document.get("oom_killed") is True,
        duration_ms=duration_ms,
    )


def printable(words: str, most: int) -> str:
    """Return the beginning of a guest's own text, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in words[:most])


def breach(what: str) -> PyroError:
    """Make the error of a guest that broke the protocol."""
    return PyroError(
        ErrorCode.PROTOCOL,
        f"the guest's agent broke the protocol: {what}",
        hint="The guest may have been tampered with from inside; delete it and create another.",
    )
