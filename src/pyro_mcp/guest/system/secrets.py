"""Secrets of a workspace: files in memory, which the workload sees below /run.

There are none before `configure`, since everything in a template is in all of its clones. They are on a separate file
system outside the workload, so that new namespaces can show them again, and its size limit protects the agent's memory.
"""

from __future__ import annotations

import os

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.system.names import text_of
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document

PLACE = "/run/secrets"
#: The path at which the workload sees them.
SHOWN = "/run/pyro-secrets"
# Enough for the permitted number and size of secrets, in whole pages, and the directory.
_SIZE_MIB = 5
_MAX_FILES = 80
_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def make_place() -> None:
    """Create the file system for secrets."""
    os.mkdir(PLACE, 0o700)
    syscalls.mount("secrets", PLACE, "tmpfs", _QUIET, f"mode=0700,size={_SIZE_MIB}m,nr_inodes={_MAX_FILES}")


def show(place: int) -> None:
    """In the workload's new mount namespace, after chroot: mount the secrets. `place` is a descriptor of their root."""
    os.mkdir(SHOWN, 0o700)
    syscalls.mount(f"/proc/self/fd/{place}", SHOWN, "", syscalls.MS_BIND)
    syscalls.mount("none", SHOWN, "", syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _QUIET)


def keep(document: Document) -> None:
    """Store the secret of a request.

    Raises:
        RefusalError: if the name is not an identifier, or the value is missing. The message never contains the value.
    """
    name, value = text_of(document, "name"), text_of(document, "value")
    if not name.isascii() or not name.isidentifier():
        raise RefusalError(wire.BAD_REQUEST, "a secret's name must be an identifier")
    fd = os.open(f"{PLACE}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(value.encode())
