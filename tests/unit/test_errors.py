"""Errors carry a stable code, a fact, a remedy."""

from __future__ import annotations

import copy
import errno
import os
import pickle

import pytest

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error


def test_an_error_is_one_json_object() -> None:
    error = PyroError(ErrorCode.NOT_FOUND, "no VM vm_1", hint="Run pyro env list.", details={"vm_id": "vm_1"})
    assert error.to_json() == {
        "code": "not_found",
        "message": "no VM vm_1",
        "hint": "Run pyro env list.",
        "details": {"vm_id": "vm_1"},
    }
    assert str(error) == "no VM vm_1 [not_found] Run pyro env list."


def test_an_error_without_details_has_none_in_json() -> None:
    assert PyroError(ErrorCode.USAGE, "no").to_json() == {"code": "usage", "message": "no", "hint": ""}


def test_an_error_survives_copying_and_pickling() -> None:
    error = PyroError(ErrorCode.BUSY, "held", hint="wait", details={"holder_pid": 7})
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(twin, PyroError)
        assert (twin.code, twin.message, twin.hint, twin.details) == (error.code, "held", "wait", {"holder_pid": 7})


def test_the_details_are_the_errors_own() -> None:
    details = {"a": 1}
    error = PyroError(ErrorCode.INTERNAL, "x", details=details)
    details["a"] = 2
    assert error.details == {"a": 1}


def test_the_codes_are_the_public_ones() -> None:
    assert [code.value for code in ErrorCode] == [
        "usage", "not_found", "invalid", "conflict", "busy", "unavailable", "missing_program", "program_failed",
        "permission", "no_space", "timeout", "cancelled", "guest_lost", "protocol", "corrupt", "build_failed",
        "unsupported", "internal", "is_directory", "too_large",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ErrorCode.NO_SPACE),
        (errno.EDQUOT, ErrorCode.NO_SPACE),
        (errno.EACCES, ErrorCode.PERMISSION),
        (errno.EROFS, ErrorCode.PERMISSION),
        (errno.ENOENT, ErrorCode.NOT_FOUND),
        (errno.EMFILE, ErrorCode.UNAVAILABLE),
        (errno.E2BIG, ErrorCode.INVALID),
        (errno.EIO, ErrorCode.INTERNAL),
    ],
)
def test_what_the_system_says_gets_a_code_and_keeps_its_words(number: int, code: ErrorCode) -> None:
    error = from_os_error(OSError(number, os.strerror(number)), "write /x")
    assert (error.code, error.message) == (code, f"could not write /x: {os.strerror(number)}")
    assert error.details == {"errno": errno.errorcode[number]}


def test_an_error_of_the_system_without_a_number_is_kept_in_words() -> None:
    assert from_os_error(OSError("timed out"), "connect").message == "could not connect: timed out"


def test_a_callers_hint_is_better_than_the_general_one() -> None:
    assert from_os_error(OSError(errno.ENOSPC, "full"), "write", hint="Ask Bob.").hint == "Ask Bob."
