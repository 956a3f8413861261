"""The table of operations: the families of rows, and how to find a row.

Families are loaded on demand, to keep start-up fast. This module does not import them: it is all that `pyro --help`
needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.operations.operation import Operation

# Each family's module, its commands, and their summaries: help shows these without loading a family.
FAMILIES: dict[str, dict[str, str]] = {
    "run": {
        "run": "Boot a fresh VM, run one command in it, delete the VM.",
    },
    "vms": {
        "vm create": "Create a VM without starting it.",
        "vm start": "Start a created or stopped VM.",
        "vm exec": "Run one command in a VM, then delete the VM.",
        "vm stop": "Stop a VM and keep its disk.",
        "vm delete": "Delete a VM and its disk.",
        "vm status": "Show a VM's state.",
        "vm list": "List VMs.",
        "vm network-info": "Show a VM's network policy and addresses.",
        "vm reap-expired": "Delete VMs whose time to live has passed.",
    },
    "environments": {
        "env list": "List environments and whether they are installed.",
        "env pull": "Install an environment into the local cache.",
        "env inspect": "Show an environment in detail.",
        "env prune": "Remove unused environments and templates.",
    },
    "network": {
        "network presets": "Show the hosts of the network policy packages.",
    },
    "machine": {
        "doctor": "Check this machine and suggest fixes.",
        "prepare": "Install an environment and make the next VM start fast.",
        "demo": "Run a command in a one-shot VM and print the result as JSON.",
    },
    "workspaces.lifecycle": {
        "workspace create": "Create and start a workspace.",
        "workspace list": "List workspaces.",
        "workspace update": "Rename a workspace or change its labels.",
        "workspace status": "Show a workspace's state, seed and history in numbers.",
        "workspace stop": "Stop a workspace; everything in it is kept.",
        "workspace start": "Start a stopped workspace.",
        "workspace delete": "Delete a workspace and everything in it.",
    },
    "workspaces.commands": {
        "workspace exec": "Run a command in a workspace.",
        "workspace logs": "Show the commands that were run and their outcomes.",
    },
    "workspaces.files": {
        "workspace sync push": "Copy a directory or archive of this host into a workspace.",
        "workspace file list": "List a directory in a workspace.",
        "workspace file read": "Read a text file in a workspace.",
        "workspace file write": "Write a whole text file in a workspace.",
        "workspace patch apply": "Apply a unified diff: all of it, or nothing.",
    },
    "workspaces.review": {
        "workspace diff": "Show what changed since the baseline, as a patch.",
        "workspace summary": "Print a one-page review of a workspace.",
        "workspace export": "Copy a file or directory out of a workspace.",
    },
    "workspaces.network": {
        "workspace network show": "Show a workspace's network policy and hosts.",
        "workspace network set": "Set the network policy and hosts.",
        "workspace network allow": "Allow hosts.",
        "workspace network deny": "Deny hosts.",
        "workspace network log": "Show what was tried to reach.",
    },
    "workspaces.snapshots": {
        "workspace snapshot create": "Take a snapshot of /workspace.",
        "workspace snapshot list": "List the snapshots of a workspace.",
        "workspace snapshot delete": "Delete a snapshot.",
        "workspace reset": "Reset a workspace to its baseline or a snapshot.",
    },
    "workspaces.disks": {
        "workspace disk export": "Export a stopped workspace's root disk as an ext4 image.",
        "workspace disk list": "List any directory of a stopped workspace.",
        "workspace disk read": "Read any text file of a stopped workspace.",
    },
    "workspaces.shells": {
        "workspace shell open": "Open a shell that stays open between calls.",
        "workspace shell list": "List the shells of a workspace.",
        "workspace shell read": "Read a shell's output from a cursor.",
        "workspace shell write": "Type into a shell and press Enter.",
        "workspace shell signal": "Send a signal to a shell's foreground process.",
        "workspace shell close": "Close a shell and everything it started.",
    },
    "workspaces.services": {
        "workspace service start": "Start a service and wait until it is ready.",
        "workspace service list": "List the services of a workspace.",
        "workspace service status": "Show a service's state.",
        "workspace service logs": "Show the end of a service's log, or all of it.",
        "workspace service stop": "Stop a service and everything it started.",
    },
}
SUMMARIES = {command: summary for commands in FAMILIES.values() for command, summary in commands.items()}
#: The maximum number of words of a command.
LONGEST = 3
# The common first words of several commands.
GROUPS = {
    "env": "Environments: the root file systems VMs start from.",
    "vm": "One-shot VMs, step by step.",
    "network": "What network policies come to.",
    "workspace": "Workspaces: VMs whose /workspace stays, to work in, review, reset and export from.",
    "workspace sync": "Copy trees of this host into a workspace.",
    "workspace file": "Files of a workspace.",
    "workspace patch": "Patches for a workspace.",
    "workspace snapshot": "Named checkpoints of /workspace.",
    "workspace shell": "Shells of a workspace; they stay open between calls.",
    "workspace service": "Services of a workspace: servers, databases.",
    "workspace network": "The network of a workspace: policy, hosts, log.",
    "workspace disk": "The disk of a stopped workspace.",
}


def family(name: str) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of one family."""
    return import_module(f"pyro_mcp.operations.{name}").ROWS


def all_operations() -> tuple[Operation[Any, Any], ...]:
    """Return every row."""
    return tuple(row for name in FAMILIES for row in family(name))


def find_command(words: Sequence[str]) -> Operation[Any, Any] | None:
    """Return the row of the command that these words begin with, or None."""
    for count in range(1, LONGEST + 1):
        command = " ".join(words[:count])
        if command in SUMMARIES:
            name = next(name for name, commands in FAMILIES.items() if command in commands)
            return next(row for row in family(name) if row.cli == tuple(words[:count]))
    return None


def begins(words: Sequence[str], beginning: str) -> bool:
    """Return whether these words begin with those of `beginning`."""
    first = beginning.split(" ")
    return list(words[: len(first)]) == first


def find_tools(names: Sequence[str]) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of these tools, in the order of the names."""
    by_tool = {row.mcp: row for row in all_operations()}
    return tuple(by_tool[name] for name in names)
