"""The hosts of the network policy `packages`, read from the configuration of package clients.

    presets = package_presets(engine, environment)   # hosts and notes, for people
    hosts = package_hosts(engine, environment)       # the hosts alone
    names = remote_hosts(checkout)                   # the hosts of a checkout's remotes

No registry is named in this code: a default comes from the files of the installed client, in the environment first, or
from the library packageurl-python.
"""

from __future__ import annotations

from pyro_mcp.workspace.presets.clients import PresetHost
from pyro_mcp.workspace.presets.collecting import Presets, package_hosts, package_presets
from pyro_mcp.workspace.presets.git import remote_hosts

__all__ = ["PresetHost", "Presets", "package_hosts", "package_presets", "remote_hosts"]
