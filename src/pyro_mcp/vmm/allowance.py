"""Check this process's resource limits before starting a VM, so that errors name the limit rather than its effects."""

from __future__ import annotations

import os
import resource

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.process.identity import thread_count
from pyro_mcp.model.limits import Shape

# The keeper, the jail, the VMM and its threads, the watcher, and a thread of ours.
PROCESSES = 32
# A limit at least this high is not checked.
_MANY_PROCESSES = 4096
# Lanes, disks, pipes and sockets of one start, plus the database.
FILES = 128
# QEMU's libraries, its translation cache and the stacks of its threads, besides the guest's memory.
_OWN_MEMORY_MIB = 512
_MIB = 1024 * 1024


def require_allowance(shape: Shape) -> None:
    """Check that starting a VM of this shape is within this process's limits (getrlimit(2)).

    The soft limits on open files and on processes are raised, as far as the hard one permits.

    Raises:
        PyroError: UNAVAILABLE, naming the limit and the command that raises it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise _too_low(f"{hard} open files", f"{FILES}", f"ulimit -n {FILES * 8}")
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    _require_processes()
    memory = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted_mib = shape.mem_mib + _OWN_MEMORY_MIB
    if memory != resource.RLIM_INFINITY and memory < wanted_mib * _MIB:
        raise _too_low(f"{memory // _MIB} MiB of address space", f"{wanted_mib} MiB", "ulimit -v unlimited")


def _require_processes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    # Root is not limited.
    if soft == resource.RLIM_INFINITY or soft >= _MANY_PROCESSES or os.geteuid() == 0:
        return
    wanted = thread_count(os.geteuid()) + PROCESSES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise _too_low(f"{hard} processes and threads of this user", f"{wanted}", f"ulimit -u {_MANY_PROCESSES}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NPROC, (wanted, hard))


def _too_low(limit: str, wanted: str, command: str) -> PyroError:
    return PyroError(
        ErrorCode.UNAVAILABLE,
        f"this process may use at most {limit}, but a VM of this shape needs {wanted}",
        hint=f"Raise the limit first: {command}",
    )
