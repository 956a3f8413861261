"""All package clients: which hosts they use in an environment, and which in the host's own configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyro_mcp.workspace.presets.addresses import host_of, without_credentials
from pyro_mcp.workspace.presets.apt import read_apt
from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.git import read_git
from pyro_mcp.workspace.presets.golang import go_module, read_go, read_go_git
from pyro_mcp.workspace.presets.java import read_java
from pyro_mcp.workspace.presets.known import SOURCE, known_git_hosts, known_registry
from pyro_mcp.workspace.presets.node import read_node, read_node_git
from pyro_mcp.workspace.presets.places import Place
from pyro_mcp.workspace.presets.python import read_python
from pyro_mcp.workspace.presets.ruby import read_ruby
from pyro_mcp.workspace.presets.rust import read_rust


@dataclass(frozen=True, slots=True)
class PresetHost:
    """A host of the policy: `name`, `*.name` or `name:port`; where that is written; the client that uses it."""

    host: str
    source: str
    client: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index that can be asked for the hosts of its files: the client, its package type, and for Go a file."""

    client: str
    kind: str
    address: str
    file: str = ""


@dataclass(slots=True)
class Collected:
    """What configuration says: hosts in the order in which they are shown, notes, and the indexes to ask."""

    hosts: list[PresetHost] = field(default_factory=list[PresetHost])
    notes: list[str] = field(default_factory=list[str])
    indexes: list[Index] = field(default_factory=list[Index])


@dataclass(frozen=True, slots=True)
class _Client:
    """A client: its name, how it is read, and its package type (of the purl specification), or ""."""

    name: str
    read: Callable[[Place], Reading]
    kind: str = ""


_CLIENTS = (
    _Client("apt", read_apt),
    _Client("pip", read_python, "pypi"),
    _Client("npm", read_node, "npm"),
    _Client("cargo", read_rust, "cargo"),
    _Client("go", read_go, "golang"),
    _Client("gem", read_ruby, "gem"),
    _Client("maven", read_java, "maven"),
)
_CAN_BE_ASKED = {"pypi", "npm", "cargo", "golang"}


def collect(places: Sequence[Place]) -> Collected:
    """Return the hosts of all clients in the places: the environment, if there is one, then the host."""
    collected = Collected()
    modules = [module for place in places if (module := go_module(place)) is not None]
    go_file = f"{modules[0][0]}/@v/{modules[0][1]}.zip" if modules else ""
    for client in _CLIENTS:
        found = _used(client, places)
        hosts = [host for named, label in found if (host := _host(client.name, named, label)) is not None]
        collected.hosts += hosts
        if not hosts:
            collected.notes.append(f"{client.name}: no host, since neither the environment nor this host names one")
        elif any(named.where == SOURCE for named, _ in found):
            missing = "installed neither in the environment nor on this host"
            collected.notes.append(f"{client.name}: {missing}, so {SOURCE} is used")
        if client.kind in _CAN_BE_ASKED:
            addresses = [named.address for named, _ in found if named.is_index]
            collected.indexes += _indexes(client, addresses, go_file if client.kind == "golang" else "")
    for named, label in _git_hosts(places):
        if (host := _host("git", named, label)) is not None:
            collected.hosts.append(host)
    # Each host once for each client, with the first source.
    first: dict[tuple[str, str], PresetHost] = {}
    for host in collected.hosts:
        first.setdefault((host.host, host.client), host)
    collected.hosts = list(first.values())
    return collected


def _used(client: _Client, places: Sequence[Place]) -> list[tuple[Named, str]]:
    """Return what a client uses, and where that was found.

    The configuration of every place counts. Defaults come from the first place with the client; there are none if a
    place before it, or that place, has a setting that replaces them.
    """
    readings = [(client.read(place), place.label) for place in places]
    found = [(named, label) for reading, label in readings for named in reading.configured]
    for reading, label in readings:
        if reading.replaces:
            return found
        if reading.defaults:
            return found + [(named, label) for named in reading.defaults]
    return found + [(named, "") for named in (known_registry(client.kind) if client.kind else [])]


def _git_hosts(places: Sequence[Place]) -> list[tuple[Named, str]]:
    """Return the hosts of repositories: of git's configuration, of clients that know some, and of ecosystems."""
    found = [(named, place.label) for place in places for named in (*read_git(place), *read_node_git(place))]
    # Of the Go that guests have: it knows hosts that few use, and on this host it says nothing about them.
    found += [(named, place.label) for place in places[:1] for named in read_go_git(place)]
    return found + [(named, "") for named in known_git_hosts()]


def _host(client: str, named: Named, label: str) -> PresetHost | None:
    host = host_of(named.address)
    where = named.where if "/" in named.where or not label else f"the variable {named.where}"
    return PresetHost(host, f"{client}: {where} {label}".rstrip(), client) if host else None


def _indexes(client: _Client, addresses: list[str], file: str) -> list[Index]:
    if client.kind == "golang" and not file:
        return []
    # cargo's git index would have to be cloned; its files are on the same server as those of the other one.
    wanted = [address for address in addresses if client.kind != "cargo" or address.startswith("sparse+")]
    plain = [without_credentials(address) for address in wanted]
    return [Index(client.name, client.kind, address, file) for address in dict.fromkeys(plain) if address]
