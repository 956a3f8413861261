"""What is known of one package client in one place: the addresses that it is set to use, or its own default."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Named:
    """An address, and the file or variable that names it. An index can be asked for the hosts of its files."""

    address: str
    where: str
    is_index: bool = True


@dataclass(slots=True)
class Reading:
    """A client's settings in one place.

    `configured` are the addresses in its configuration, `defaults` those in its own files. `replaces` says that the
    configuration is used instead of the defaults.
    """

    configured: list[Named] = field(default_factory=list[Named])
    defaults: list[Named] = field(default_factory=list[Named])
    replaces: bool = False

    def configure(self, address: str, where: str, *, replaces: bool = False, is_index: bool = True) -> None:
        """Add an address of the configuration; an empty one is ignored."""
        if address.strip():
            self.configured.append(Named(address.strip(), where, is_index))
            self.replaces = self.replaces or replaces
