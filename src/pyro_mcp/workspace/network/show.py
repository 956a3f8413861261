"""Show the network of a workspace: its policy, what that comes to, and whether it is in effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.network import NetworkRules
from pyro_mcp.model.states import WorkspaceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.model.vm import Vm
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine

#: Rules that are in effect, and those that a guest gets when it is started again.
NOW, NEXT_START = "now", "next start"
BY_NAME = "--allow-host"


@dataclass(frozen=True, slots=True)
class EffectiveHost:
    """A host that a guest may reach, and where that is written."""

    host: str
    source: str


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """The network of a workspace.

    `effective` are the allowed hosts of a filtered network, `applied` is `NOW` or `NEXT_START`, and `network` is the
    running guest's configuration (see `GuestNetwork.to_json`).
    """

    workspace_id: str
    network_policy: NetworkPolicy
    allow_hosts: tuple[str, ...]
    deny_hosts: tuple[str, ...]
    effective: tuple[EffectiveHost, ...]
    applied: str
    network: Mapping[str, object] | None


def show_network(engine: Engine, workspace_id: str) -> NetworkStatus:
    """Return the network of the workspace with this id.

    Raises:
        PyroError: NOT_FOUND.
    """
    return network_status(engine, engine.store.workspaces.get(workspace_id))


def network_status(engine: Engine, workspace: Workspace) -> NetworkStatus:
    """Return the network of a recorded workspace.

    Raises:
        PyroError: the store or the cache can't be used.
    """
    vm = running_vm(engine, workspace)
    return NetworkStatus(
        workspace_id=workspace.id,
        network_policy=workspace.network_policy,
        allow_hosts=workspace.allow_hosts,
        deny_hosts=workspace.deny_hosts,
        effective=_effective(engine, workspace),
        applied=NOW if vm is not None and NetworkRules.of(vm) == NetworkRules.of(workspace) else NEXT_START,
        network=None if vm is None else vm.network,
    )


def running_vm(engine: Engine, workspace: Workspace) -> Vm | None:
    """Return the VM of a started workspace."""
    return engine.store.vms.find(workspace.vm_id) if workspace.state is WorkspaceState.STARTED else None


def _effective(engine: Engine, workspace: Workspace) -> tuple[EffectiveHost, ...]:
    found = [EffectiveHost(host, BY_NAME) for host in workspace.allow_hosts]
    if workspace.network_policy is NetworkPolicy.PACKAGES:
        from pyro_mcp.image.environments import find_environment
        from pyro_mcp.workspace.presets import package_hosts

        digest = None if workspace.base is None else workspace.base.digest
        environment = find_environment(engine.paths, workspace.environment, digest=digest)
        found += [EffectiveHost(each.host, each.source) for each in package_hosts(engine, environment)]
    return tuple(each for each in found if each.host not in workspace.deny_hosts)
