"""The agent as init of a virtual machine: mounts, devices, names, network, secrets and the workload's namespaces."""

from __future__ import annotations
