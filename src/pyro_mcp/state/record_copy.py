"""The copy of a VM's record in its own directory, by which it is known again if the database is lost.

Owns writing and reading that file. Refuses to be trusted while the database has the VM: the row is the truth.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import PyroError, from_os_error
from pyro_mcp.state.vm_record import from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.model.vm import Vm
    from pyro_mcp.state.filenames import VmFiles

_MAX_BYTES = 256 * 1024


def write_copy(files: VmFiles, vm: Vm) -> None:
    """Write the copy. It is not synced: after a crash of the machine no VM runs anyway.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    staged = files.record.with_suffix(".new")
    try:
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, json.dumps(to_row(vm)).encode())
        finally:
            os.close(fd)
        os.rename(staged, files.record)
    except OSError as error:
        raise from_os_error(error, f"write {files.record}") from error


def read_copy(files: VmFiles) -> Vm | None:
    """Return what the copy says, or None if there is none or it is damaged or another VM's."""
    try:
        fd = os.open(files.record, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            row: object = json.loads(file.read(_MAX_BYTES))
        vm = from_row(cast("Mapping[str, object]", row)) if isinstance(row, dict) else None
    except (OSError, ValueError, RecursionError, PyroError):
        return None
    return vm if vm is not None and vm.id == files.vm_id else None
