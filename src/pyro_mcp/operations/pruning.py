"""Pruning: what no catalog entry and no VM needs goes.

Owns telling the image layer which installs VMs stand on, and which templates nothing can start from any more. Refuses
to remove what is in use, and to make the next start slow: templates of what stays, stay.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from pyro_mcp.operations.environments import EnvPruneResult
from pyro_mcp.operations.operation import engine

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.operations.operation import Call

_SHORT_DIGEST = 12
_BLOCK_BYTES = 512


def prune(call: Call) -> EnvPruneResult:
    """Remove what nothing needs, and say what that was.

    Raises:
        PyroError: BUSY if images are being used all the time; PERMISSION and others.
    """
    from pyro_mcp.image import prune as images

    call.progress.phase("prune", "looking at what is in use")
    with engine(call) as using:
        using.reconcile()
        vms, _ = using.store.vms.all()
        workspaces, _ = using.store.workspaces.all()
    bases = {owner.base.digest for owner in (*vms, *workspaces) if owner.base is not None}
    boots = {vm.boot_digest for vm in vms if vm.boot_digest}
    done = images.prune(call.paths, bases | boots)
    removed = [f"{each.kind} {each.name} {each.digest[:_SHORT_DIGEST]}" for each in done.removed]
    templates, freed_bytes = prune_templates(call.paths, bases, boots)
    return EnvPruneResult(
        count=len(removed) + len(templates),
        freed_bytes=done.freed_bytes + freed_bytes,
        removed=(*removed, *templates),
        skipped=done.skipped,
    )


def prune_templates(paths: Paths, bases: set[str], boots: set[str]) -> tuple[list[str], int]:
    """Remove the templates whose environment or kernel is gone; return their names and the space they took."""
    from pyro_mcp.image.boot import find_boot_source
    from pyro_mcp.image.environments import list_environments
    from pyro_mcp.workspace.templates import discard_template

    boot = find_boot_source(paths)
    bases = bases | {each.installed.digest for each in list_environments(paths) if each.installed is not None}
    boots = boots | ({boot.digest} if boot else set())
    removed: list[str] = []
    freed_bytes = 0
    for directory in _directories(paths.templates):
        base, kernel = _stands_on(directory)
        if base in bases and kernel in boots:
            continue
        size = _disk_bytes(directory)
        if discard_template(paths, directory.name):
            removed.append(f"template {directory.name[:_SHORT_DIGEST]}")
            freed_bytes += size
    return removed, freed_bytes


def _directories(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _stands_on(template: Path) -> tuple[str, str]:
    """Return the digests of the base image and of the boot source that a template was taken with, or "" and ""."""
    from pyro_mcp.vmm.template import MANIFEST

    try:
        parts = json.loads((template / MANIFEST).read_bytes())["parts"]
        return cast("str", parts["base_digest"]), cast("str", parts["boot_digest"])
    except (OSError, ValueError, TypeError, KeyError):
        return "", ""


def _disk_bytes(directory: Path) -> int:
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            total += os.lstat(os.path.join(place, name)).st_blocks * _BLOCK_BYTES
    return total
