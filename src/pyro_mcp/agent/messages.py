"""What is said to an agent, and what it answers, as values.

Owns their fields, how they look on the wire, and the checks of what a guest answered. Refuses to send anything.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import DocumentError, decode_strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.host.network.guest import GuestNetwork
    from pyro_mcp.protocol.documents import Document

ENTROPY_BYTES = 64
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
    #: A clone mounts a root disk that is there already.
    ATTACH = wire.ATTACH


class RootDisk(StrEnum):
    """Say what `configure` is to do about the root disk."""

    MOUNTED = wire.ROOT_MOUNTED
    ATTACH = wire.ROOT_ATTACH


@dataclass(frozen=True, slots=True)
class Prepare:
    """What is done before a template is taken."""

    flavour: Flavour = Flavour.FRESH

    def document(self) -> Document:
        """Return the request."""
        return {"op": wire.PREPARE, "flavour": self.flavour.value}


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """What makes a clone one particular guest. The clock's time is added when it is sent."""

    hostname: str
    machine_id: str
    network: GuestNetwork | None = None
    root: RootDisk = RootDisk.MOUNTED
    entropy: bytes = field(default_factory=lambda: os.urandom(ENTROPY_BYTES), repr=False)

    def document(self) -> Document:
        """Return the request, as of now."""
        return {
            "op": wire.CONFIGURE,
            "clock_ns": time.time_ns(),
            "entropy": self.entropy.hex(),
            "hostname": self.hostname,
            "machine_id": self.machine_id,
            "network": None if self.network is None else self.network.to_json(),
            "root": self.root.value,
        }


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command. What is not UTF-8 in it is written with surrogates, as `os.fsdecode` does.

    `env` is added to what the agent gives every command. It is killed, with all that descends from it, after
    `timeout_s` seconds. With `is_last`, no other command is expected, and the agent makes nothing ready for one.
    """

    argv: tuple[str, ...]
    timeout_s: float
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    is_last: bool = False

    def __post_init__(self) -> None:
        """Refuse what no kernel would run.

        Raises:
            PyroError: INVALID.
        """
        if not self.argv:
            raise PyroError(ErrorCode.INVALID, "there is no command to run", hint="Give one after `--`.")
        for text in (*self.argv, self.cwd, *self.env, *self.env.values()):
            if "\0" in text:
                raise PyroError(
                    ErrorCode.INVALID,
                    f"{text[:_MAX_TEXT_CHARS]!r} holds a NUL character",
                    hint="No argument, variable or path can hold one; pass such data on stdin or in a file.",
                )
        if any(not name or "=" in name for name in self.env):
            raise PyroError(ErrorCode.INVALID, "the name of a variable is empty or holds a `=`")

    def document(self, *, stdin: bool) -> Document:
        """Return the request."""
        return {
            "op": wire.EXEC,
            "argv": list(self.argv),
            "cwd": self.cwd,
            "env": dict(self.env),
            "timeout_ms": max(1, int(self.timeout_s * 1000)),
            "stdin": stdin,
            "last": self.is_last,
        }


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
    """What an agent says of itself. It may be lying."""

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


def breach(what: str) -> PyroError:
    """Make the error of a guest that broke the protocol."""
    return PyroError(
        ErrorCode.PROTOCOL,
        f"the guest's agent broke the protocol: {what}",
        hint="The guest may have been tampered with from inside; delete it and create another.",
    )
