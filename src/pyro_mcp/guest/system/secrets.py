"""Secrets of a workspace in the guest: files in memory, below /run for the workload.

There are none before `configure`, since what is in a template is in all of its clones. They are in a file system of
their own, outside the workload: new namespaces show them again, and what is done to the files there takes no memory
from the agent.
"""

from __future__ import annotations

import os

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.system.names import text_of
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document

PLACE = "/run/secrets"
#: Where the workload finds them.
SHOWN = "/run/pyro-secrets"
# As many and as long as there may be, in whole pages, and the directory.
_SIZE_MIB = 5
_MAX_FILES = 80
_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def make_place() -> None:
    """Make the file system that they are to lie in."""
    os.mkdir(PLACE, 0o700)
    syscalls.mount("secrets", PLACE, "tmpfs", _QUIET, f"mode=0700,size={_SIZE_MIB}m,nr_inodes={_MAX_FILES}")


def show(place: int) -> None:
    """In the workload's new mount namespace, chrooted: let it find them. `place` stands for the file system."""
    os.mkdir(SHOWN, 0o700)
    syscalls.mount(f"/proc/self/fd/{place}", SHOWN, "", syscalls.MS_BIND)
    syscalls.mount("none", SHOWN, "", syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _QUIET)


def keep(document: Document) -> None:
    """Keep the secret that a request holds.

    Raises:
        RefusalError: if it has no name that a file can have, or no value; the message does not contain it.
    """
    name, value = text_of(document, "name"), text_of(document, "value")
    if not name.isascii() or not name.isidentifier():
        raise RefusalError(wire.BAD_REQUEST, "a secret without a name")
    fd = os.open(f"{PLACE}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(value.encode())
