"""The defaults of VMs under the name of their module before version 5."""

from __future__ import annotations

from pyro_mcp.model.limits import DEFAULT_MEM_MIB, DEFAULT_VCPU_COUNT
from pyro_mcp.model.limits import DEFAULT_TIMEOUT_S as DEFAULT_TIMEOUT_SECONDS
from pyro_mcp.model.limits import DEFAULT_TTL_S as DEFAULT_TTL_SECONDS

DEFAULT_ALLOW_HOST_COMPAT = False
__all__ = [
    "DEFAULT_ALLOW_HOST_COMPAT",
    "DEFAULT_MEM_MIB",
    "DEFAULT_TIMEOUT_SECONDS",
    "DEFAULT_TTL_SECONDS",
    "DEFAULT_VCPU_COUNT",
]
