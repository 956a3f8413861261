"""Options that may be repeated, and values read from a file of the host.

A value given twice, or in both ways, is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pyro_mcp.cli.shape import FILE_SUFFIX
from pyro_mcp.cli.streams import STDIN
from pyro_mcp.cli.usage import UsageError, with_help
from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.operations.fields import Kind, Parameter

_READ_BYTES = 1024 * 1024
# For a value whose field declares no maximum length.
_MOST_BYTES = 16 * 1024 * 1024
# proc(5): where the arguments begin in this process's memory is the 48th field of its status.
_ARGUMENTS_START = 48
_NAME_FIELDS = 2


def collected(parameter: Parameter, given: Mapping[str, Any], command: str) -> object:
    """Return the value of a field from all options given for it.

    Raises:
        UsageError: it is malformed, or given twice.
        PyroError: a file can't be read, is too large, or is not UTF-8.
    """
    value = given[parameter.name]
    if parameter.kind is Kind.PAIRS and parameter.from_file:
        return _variables(parameter, value or [], given.get(parameter.name + FILE_SUFFIX) or [], command)
    if parameter.kind is Kind.PAIRS:
        return None if value is None else _pairs(parameter, value, command)
    if parameter.kind is Kind.TEXTS:
        return None if value is None else tuple(value)
    if parameter.kind is Kind.PORTS:
        return None if value is None else tuple(_port(parameter, each, command) for each in value)
    path = given.get(parameter.name + FILE_SUFFIX)
    if parameter.kind is Kind.RECORDS:
        return _records(parameter, value or [], path or [], command)
    return value if path is None else _text_of(path, parameter)


def _pairs(parameter: Parameter, given: list[str], command: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    optional = "[=" in parameter.names
    for text in given:
        name, sign, value = text.partition("=")
        if not name or not (sign or optional):
            raise _malformed(parameter.option, text, parameter.names, command)
        if name in pairs:
            raise UsageError(f"{parameter.option} gives {name[:60]!r} twice", hint=with_help(command, "Give it once."))
        pairs[name] = value if sign else name
    return pairs


def _variables(parameter: Parameter, given: list[str], files: list[str], command: str) -> dict[str, str] | None:
    """Return the variables of files, then those given; a bare name takes its value, if any, from this process."""
    listed = [(parameter.from_file, line) for path in files for line in _text_of(path, parameter).splitlines()]
    lines = [(option, line) for option, line in listed if line.strip() and not line.lstrip().startswith("#")]
    variables: dict[str, str] = {}
    for option, text in [*lines, *((parameter.option, text) for text in given)]:
        name, sign, value = text.partition("=")
        if not name:
            # The rest may be a value, which is not shown.
            raise UsageError(f"{option} has a variable without a name", hint=with_help(command, "Give NAME=VALUE."))
        if sign or name in os.environ:
            variables[name] = value if sign else os.environ[name]
    return variables or None


def _records(
    parameter: Parameter, given: list[str], files: list[str], command: str
) -> tuple[dict[str, str], ...] | None:
    records: list[dict[str, str]] = []
    for option, key, texts in ((parameter.option, "value", given), (parameter.from_file, "file_path", files)):
        for text in texts:
            name, sign, value = text.partition("=")
            if not name or not sign:
                # Without a name the text may be the secret itself: it is not shown.
                hint = with_help(command, "Give NAME=….")
                raise UsageError(f"{option} has no name or no value", hint=hint)
            records.append({"name": name, key: value})
    blot_out([record["value"] for record in records if "value" in record])
    return tuple(records) or None


def _port(parameter: Parameter, text: str, command: str) -> dict[str, int | None]:
    host, colon, guest = text.rpartition(":")
    if not (guest.isascii() and guest.isdigit()) or (colon and not (host.isascii() and host.isdigit())):
        raise _malformed(parameter.option, text, parameter.names, command)
    return {"guest_port": int(guest), "host_port": int(host) if colon else None}


def _malformed(option: str, text: str, form: str, command: str) -> UsageError:
    return UsageError(f"{option} is {text[:60]!r}", hint=with_help(command, f"Give {form}."))


def _text_of(path: str, parameter: Parameter) -> str:
    """Return the content of a file, or of stdin."""
    most = parameter.max_length or _MOST_BYTES
    name = "stdin" if path == "-" else path
    with os_errors(f"read {name}"):
        fd = os.dup(STDIN) if path == "-" else os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = bytearray()
            while len(data) <= 4 * most and (more := os.read(fd, _READ_BYTES)):
                data += more
        finally:
            os.close(fd)
    try:
        return data.decode()
    except UnicodeDecodeError:
        hint = "Only UTF-8 text can be passed this way; copy other files with pyro workspace sync push."
        raise PyroError(ErrorCode.INVALID, f"{name} is not UTF-8 text", hint=hint) from None


def blot_out(values: list[str]) -> None:
    """Overwrite these values in the process's command line, as far as the system permits."""
    with suppress(OSError, ValueError):
        with open("/proc/self/stat", "rb") as file:
            # The program's name, in parentheses, may contain spaces.
            after_name = file.read().rpartition(b")")[2].split()
        start = int(after_name[_ARGUMENTS_START - _NAME_FIELDS - 1])
        with open("/proc/self/cmdline", "rb") as file:
            arguments = file.read()
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            for value in values:
                _blot(memory, start, arguments, os.fsencode(value))
        finally:
            os.close(memory)


def _blot(memory: int, start: int, arguments: bytes, value: bytes) -> None:
    at = arguments.find(value) if value else -1
    while at >= 0:
        os.pwrite(memory, b"*" * len(value), start + at)
        at = arguments.find(value, at + len(value))
