"""The network of a VM: where its files are, what it enforces, and what it refused."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host.network.filter import FilterSettings, NetworkFiles
from pyro_mcp.host.network.filter.log import has_mark, log_end, read_log
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.network import HostRule, NetworkRules
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.workspace.engine import Engine

# A command's result names at most this many hosts that were refused to it.
MAX_REFUSED = 20
_LOGGED_WITHIN_S = 0.5
_MARK_BYTES = 8


def network_files(paths: Paths, vm: Vm) -> NetworkFiles:
    """Return the directories of a VM's network. A workspace's log outlives the VM."""
    files = VmFiles(paths, vm.id)
    log = WorkspaceFiles(paths, vm.workspace_id).network_log if vm.workspace_id else files.network_log
    return NetworkFiles(files.network, log)


def filter_settings(engine: Engine, vm: Vm, rules: NetworkRules) -> FilterSettings | None:
    """Return what the network of a VM enforces with these rules, or None if it is not filtered by host name.

    A running network that is switched off allows nothing. With `packages`, the package clients' hosts are added.

    Raises:
        PyroError: the cache directory can't be used.
    """
    is_off = rules.policy is NetworkPolicy.OFF
    if not is_off and not rules.is_filtered:
        return None
    allow = rules.allow
    if rules.policy is NetworkPolicy.PACKAGES:
        from pyro_mcp.image.environments import find_environment
        from pyro_mcp.workspace.presets import package_hosts

        digest = None if vm.base is None else vm.base.digest
        environment = find_environment(engine.paths, vm.environment, digest=digest)
        presets = (HostRule.parse(preset.host) for preset in package_hosts(engine, environment))
        allow = tuple(dict.fromkeys((*allow, *presets)))
    command = f"pyro workspace network allow {vm.workspace_id}" if vm.workspace_id else "pyro run --allow-host"
    return FilterSettings(
        allow=allow,
        deny=rules.deny,
        default_allowed=not is_off and not rules.policy.takes_allowed,
        policy=rules.policy.value,
        allow_command=command,
    )


class RefusalWatch:
    """Note which hosts a VM's network refuses from now on."""

    def __init__(self, paths: Paths, vm: Vm) -> None:
        """Begin to watch."""
        self._files = network_files(paths, vm)
        self._since = log_end(self._files.log)

    def refused(self) -> tuple[str, ...]:
        """Return the hosts, in order. What other commands of the VM tried meanwhile is among them."""
        log, mark = self._files.log, os.urandom(_MARK_BYTES).hex()
        with suppress(PyroError, OSError):
            self._files.mark(mark)
            # Lines are written in order: behind the mark is nothing that was tried before.
            wait_until(lambda: has_mark(log, mark, self._since), timeout_s=_LOGGED_WITHIN_S, what="the network's log")
        attempts, _ = read_log(log, self._since)
        return tuple(dict.fromkeys(each.host for each in attempts if not each.is_allowed))[:MAX_REFUSED]
