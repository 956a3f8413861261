"""The command line of this very process, as others see it in a list of processes.

Owns blotting values out of it as soon as they are read. Refuses to promise that nobody saw them before: a value that
nobody may see comes from a file.
"""

from __future__ import annotations

import os
from contextlib import suppress

# proc(5): where the arguments begin in this process's memory is the 48th field of its status.
_ARGUMENTS_START = 48
_NAME_FIELDS = 2


def blot_out(values: list[str]) -> None:
    """Write over these values wherever they stand in the process's command line, as far as the system lets us."""
    with suppress(OSError, ValueError):
        with open("/proc/self/stat", "rb") as file:
            # The program's name, in parentheses, may hold spaces.
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
