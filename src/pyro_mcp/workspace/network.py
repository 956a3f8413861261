"""A VM's network while it is started.

Owns opening one where the policy asks for it, and giving back this process's part once the machine has its own. Refuses
to keep it running: it ends with the machine.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.network import Egress
    from pyro_mcp.model.vm import Vm


@contextmanager
def egress_of(vm: Vm) -> Generator[Egress | None]:
    """Open the VM's network, if it has one; an exception in the block ends it.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM if this host can't give a guest a network.
    """
    if not vm.network_policy.has_network:
        yield None
        return
    from pyro_mcp.host.network import open_egress

    with open_egress() as egress:
        yield egress
