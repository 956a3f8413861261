"""The configuration of a guest's network card: addresses, gateway, name servers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of the guest's network card and the gateway of that family, as text."""

    address: str
    prefix_length: int
    gateway: str


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    """How a guest sets up its network card: nothing is asked for over DHCP, nothing is announced.

    A family that the host can't serve is None. `dns` is in the order in which servers are to be asked.
    """

    ipv4: InterfaceAddress | None
    ipv6: InterfaceAddress | None
    dns: tuple[str, ...]
    mtu: int

    def to_json(self) -> dict[str, object]:
        """Return the network as the agent and the users read it."""
        return {**asdict(self), "dns": list(self.dns)}
