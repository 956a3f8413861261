"""Change the network of a workspace, running or not.

The rules are recorded first: whatever happens then, the next start has them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, UnavailableError
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.network import HostRule, NetworkRules
from pyro_mcp.state.copies import write_workspace_copy
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.workspace.network.running import apply_rules
from pyro_mcp.workspace.network.show import network_status, running_vm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.network.show import NetworkStatus


def change_network(engine: Engine, workspace_id: str, rules: NetworkRules) -> NetworkStatus:
    """Replace the policy and the rules of a workspace, and return its network.

    Raises:
        PyroError: NOT_FOUND; UNSUPPORTED for a workspace without a guest.
    """
    return _change(engine, workspace_id, lambda _: rules)


def allow_hosts(engine: Engine, workspace_id: str, hosts: Iterable[str]) -> NetworkStatus:
    """Allow hosts, which are then no longer denied, and return the network.

    Raises:
        PyroError: NOT_FOUND; INVALID if the policy allows none, or for what is no host.
    """
    given = tuple(map(HostRule.parse, hosts))

    def allowed(now: NetworkRules) -> NetworkRules:
        deny = tuple(each for each in now.deny if each not in given)
        # An unfiltered policy allows every host that is not denied.
        if not now.policy.takes_allowed and now.policy.has_network and set(given) <= set(now.deny):
            return NetworkRules(now.policy, now.allow, deny)
        return NetworkRules(now.policy, _added(now.allow, given), deny)

    return _change(engine, workspace_id, allowed)


def deny_hosts(engine: Engine, workspace_id: str, hosts: Iterable[str]) -> NetworkStatus:
    """Deny hosts, which are then no longer allowed, and return the network.

    Raises:
        PyroError: NOT_FOUND; INVALID if the policy allows no host anyway, or for what is no host.
    """
    given = tuple(map(HostRule.parse, hosts))

    def denied(now: NetworkRules) -> NetworkRules:
        allow = tuple(each for each in now.allow if each not in given)
        return NetworkRules(now.policy, allow, _added(now.deny, given))

    return _change(engine, workspace_id, denied)


def _added(rules: tuple[HostRule, ...], more: tuple[HostRule, ...]) -> tuple[HostRule, ...]:
    return tuple(dict.fromkeys((*rules, *more)))


def _change(engine: Engine, workspace_id: str, change: Callable[[NetworkRules], NetworkRules]) -> NetworkStatus:
    now_s = engine.clock.wall_s()

    def changed(now: Workspace) -> Workspace:
        rules = change(NetworkRules.of(now))
        if now.is_host_compat and rules.policy is not NetworkPolicy.OFF:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"the workspace {now.title} has no guest: its commands use this host's network",
                hint="Create it where a VM can be booted.",
            )
        after = replace(now, network_policy=rules.policy, allow_hosts=rules.allow_hosts, deny_hosts=rules.deny_hosts)
        return now if after == now else replace(after, last_activity_at=max(now.last_activity_at, now_s))

    workspace = engine.store.workspaces.update(workspace_id, changed, durable=True)
    with suppress(PyroError):
        snapshots = engine.store.workspaces.snapshots(workspace_id)
        write_workspace_copy(WorkspaceFiles(engine.paths, workspace_id), workspace, snapshots)
    vm = running_vm(engine, workspace)
    rules = NetworkRules.of(workspace)
    # A guest without a network card in use gets one only when it is started.
    if vm is not None and vm.network is not None and NetworkRules.of(vm) != rules:
        with suppress(UnavailableError):
            apply_rules(engine, workspace, rules)
    return network_status(engine, workspace)
