"""The lock of one VM's life cycle.

Owns which lock a VM has and how long a verb waits for it. Refuses to be taken by reads and commands: they do not wait
for each other.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.state.filenames import VM_LOCKS
from pyro_mcp.state.named_lock import named_lock

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths

# Longer than any start or stop takes once its template is there.
LOCK_TIMEOUT_S = 45.0


@contextmanager
def vm_lock(paths: Paths, vm_id: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> Generator[None]:
    """Hold the right to change the VM's life.

    Raises:
        PyroError: BUSY if another process keeps it for longer than `timeout_s`.
    """
    with named_lock(paths.state / VM_LOCKS, vm_id, timeout_s=timeout_s, waiting_for=vm_id):
        yield
