"""The agent as init of a VM: mounts, devices, names, network, secrets and the workload's namespaces."""

from __future__ import annotations
