"""What somebody who wants a VM asks for.

Owns the request's form and its bounds. Refuses to look at the host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import DEFAULT_TTL_S, Shape, check_ttl


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM that is wanted. `ttl_s` is in seconds, from the moment of its creation."""

    environment: str
    shape: Shape = field(default_factory=Shape)
    ttl_s: int = DEFAULT_TTL_S
    network_policy: NetworkPolicy = NetworkPolicy.OFF
    allow_host_compat: bool = False
    require_kvm: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of bounds.

        Raises:
            PyroError: INVALID.
        """
        check_ttl(self.ttl_s)
