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
    """The static configuration of a guest's network card: neither DHCP nor router advertisements are used.

    An address family that the host can't serve is None. `dns` is in order of preference.
    """

    ipv4: InterfaceAddress | None
    ipv6: InterfaceAddress | None
    dns: tuple[str, ...]
    mtu: int

    def to_json(self) -> dict[str, object]:
        """Return the network as a JSON object, for the agent and for users."""
        return {**asdict(self), "dns": list(self.dns)}
