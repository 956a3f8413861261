"""Environments: list, pull, inspect and prune.

Pruning keeps the templates of every remaining environment, so that the next start is not slower.
"""

from __future__ import annotations

import json
import os
from dataclasses import field
from typing import TYPE_CHECKING, TypeVar, cast

from pyro_mcp.operations.fields import Request, asked, said
from pyro_mcp.operations.operation import Call, Effect, EmptyRequest, Operation, Result, engine, result_of
from pyro_mcp.operations.parameters import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.image.environments import EnvironmentStatus

E = TypeVar("E", bound="Environment")

_SHORT_DIGEST = 12
_BLOCK_BYTES = 512


class EnvPullRequest(Request):
    """Ask for an environment to be installed."""

    environment: str = field(metadata=ENVIRONMENT)
    force: bool = asked("Rebuild it even if it is installed.", default=False)


class EnvInspectRequest(Request):
    """Ask for the details of an environment."""

    environment: str = field(metadata=ENVIRONMENT)


class Environment(Result):
    """One environment and its state on this host."""

    name: str = said("Its name, as other calls take it.")
    version: str | None = said("Its version: that of the catalog.")
    description: str = said("What it contains.")
    installed: bool = said("Whether it is installed.")
    state: str = said("installed, missing, or broken (the next pull repairs it).")
    reason: str = said("Why it is broken.")
    outdated: bool = said("Whether a pull would rebuild it from a changed recipe.")
    distribution: str = said("Its distribution.")
    distribution_version: str = said("The distribution's version.")
    default_packages: list[str] = said("The packages that its recipe names.")
    platform: str = said("The platform it runs on.")
    compatibility: str = said("The versions of pyro-mcp that can use it.")
    catalog_version: str = said("Version of the catalog that this release carries.")
    oci_registry: str | None = said("The registry it comes from; null: built from its distribution's archive.")
    oci_repository: str | None = said("Its repository there.")
    oci_reference: str | None = said("Its tag there.")
    source_digest: str | None = said("Identity of its recipe.")
    digest: str | None = said("Identity of the install.")
    size_bytes: int | None = said("Size of its root file system image.")
    cache_dir: str = said("Directory of all installs.")
    install_dir: str | None = said("Directory of the install.")


class EnvPullResult(Environment):
    """An environment that was installed."""

    kernel_image: str = said("The kernel it is booted with.")
    rootfs_image: str = said("Its root file system image.")
    source: str = said("Where it came from: mmdebstrap (built here).")


class EnvListResult(Result):
    """All environments of the catalog, and what else is installed."""

    catalog_version: str = said("Version of the catalog that this release carries.")
    count: int = said("Number of entries.")
    environments: list[Environment] = said("The environments, in the catalog's order.")


class EnvInspectResult(Environment):
    """One environment in full."""

    variables: dict[str, str] = said("Environment variables set for commands.")
    packages: dict[str, str] = said("Version of each installed package.")
    install_manifest: dict[str, object] = said("The install's manifest: recipe, digests, tools.")


class EnvPruneResult(Result):
    """The images that a prune removed."""

    deleted_environment_dirs: list[str] = said("The environments' directories removed.")
    count: int = said("Their number.")
    deleted_other_dirs: list[str] = said("The kernels and templates removed.")
    freed_bytes: int = said("Disk space freed.")
    skipped: list[str] = said("Entries skipped because they are being pulled.")


def _environment(kind: type[E], paths: Paths, status: EnvironmentStatus, **given: object) -> E:
    from pyro_mcp.image.catalog import load_catalog
    from pyro_mcp.image.environments import EnvironmentState

    catalog, install = load_catalog(), status.installed
    recipe = next((each for each in catalog.environments if each.name == status.name), None)
    distribution, _, version = status.name.partition(":")
    return result_of(
        kind,
        status,
        version=catalog.version if recipe else None,
        installed=status.state is EnvironmentState.INSTALLED,
        distribution=distribution,
        distribution_version=version.partition("-")[0],
        default_packages=list(recipe.recipe.packages) if recipe else [],
        platform="linux-x86_64",
        compatibility=">=5.0.0,<6.0.0",
        catalog_version=catalog.version,
        oci_registry=None,
        oci_repository=None,
        oci_reference=None,
        source_digest=recipe.digest if recipe else None,
        digest=install.digest if install else None,
        size_bytes=install.size_bytes if install else None,
        cache_dir=str(paths.environments),
        install_dir=str(install.directory) if install else None,
        **given,
    )


def _list(_request: EmptyRequest, call: Call) -> EnvListResult:
    from pyro_mcp.image.catalog import load_catalog
    from pyro_mcp.image.environments import list_environments

    found = [_environment(Environment, call.paths, status) for status in list_environments(call.paths)]
    return EnvListResult(load_catalog().version, len(found), found)


def _pull(request: EnvPullRequest, call: Call) -> EnvPullResult:
    from pyro_mcp.image.boot import ensure_boot_source
    from pyro_mcp.image.environments import inspect_environment, install_environment

    # An unknown name is an error at once, not after minutes of building a kernel for it.
    inspect_environment(call.paths, request.environment)
    boot = ensure_boot_source(call.paths, call.progress)
    done = install_environment(call.paths, request.environment, call.progress, force=request.force)
    return _environment(
        EnvPullResult,
        call.paths,
        inspect_environment(call.paths, request.environment),
        kernel_image=str(boot.vmlinux),
        rootfs_image=str(done.base_image),
        source="mmdebstrap",
    )


def _inspect(request: EnvInspectRequest, call: Call) -> EnvInspectResult:
    from pyro_mcp.image.environments import inspect_environment

    status = inspect_environment(call.paths, request.environment)
    install = status.installed
    return _environment(
        EnvInspectResult,
        call.paths,
        status,
        variables=install.variables if install else {},
        packages=install.packages if install else {},
        install_manifest=json.loads(install.manifest.to_bytes()) if install else {},
    )


def _prune(_request: EmptyRequest, call: Call) -> EnvPruneResult:
    """Remove everything unused, and report it.

    Raises:
        PyroError: BUSY if images are in constant use; PERMISSION and others.
    """
    from pyro_mcp.image import prune as images
    from pyro_mcp.image.environments import KIND

    call.progress.phase("prune", "checking what is in use")
    with engine(call) as using:
        using.use_reserve()
        using.reconcile()
        vms, _ = using.store.vms.all()
        workspaces, _ = using.store.workspaces.all()
    bases = {owner.base.digest for owner in (*vms, *workspaces) if owner.base is not None}
    boots = {vm.boot_digest for vm in vms if vm.boot_digest}
    done = images.prune(call.paths, bases | boots)
    environments = [each for each in done.removed if each.kind == KIND]
    others = [f"{each.kind} {each.name} {each.digest[:_SHORT_DIGEST]}" for each in done.removed if each.kind != KIND]
    templates, freed_bytes = prune_templates(call.paths, bases, boots)
    return EnvPruneResult(
        deleted_environment_dirs=[f"{each.name} {each.digest[:_SHORT_DIGEST]}" for each in environments],
        count=len(environments),
        deleted_other_dirs=[*others, *templates],
        freed_bytes=done.freed_bytes + freed_bytes,
        skipped=list(done.skipped),
    )


def prune_templates(paths: Paths, bases: set[str], boots: set[str]) -> tuple[list[str], int]:
    """Remove the templates whose environment or kernel is gone; return their names and their size in bytes."""
    from pyro_mcp.image.boot import find_boot_source
    from pyro_mcp.image.environments import list_environments
    from pyro_mcp.workspace.machines.templates import discard_template

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
    """Return the digests of a template's base image and boot source, or "" and ""."""
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


ENV_LIST = Operation(
    name="env_list",
    title="List environments",
    description=(
        "List the environments that a VM can be created from, with their state on this host: installed,"
        " missing (built on first use, which takes about a minute), or broken (repaired by the next pull)."
    ),
    handler=_list,
    effect=Effect.READ,
    cli=("env", "list"),
    tool="vm_list_environments",
    sdk="list_environments",
)
ENV_PULL = Operation(
    name="env_pull",
    title="Install an environment",
    description=(
        "Install an environment into the local cache, with the kernel and the toolbox that every VM needs."
        " An intact, current install is kept; a broken one is repaired."
    ),
    handler=_pull,
    effect=Effect.WRITE,
    idempotent=True,
    open_world=True,
    cli=("env", "pull"),
    tool=None,
    sdk="pull_environment",
)
ENV_INSPECT = Operation(
    name="env_inspect",
    title="Inspect an environment",
    description="Show an environment's state, digests, packages, variables and recipe, verifying the install.",
    handler=_inspect,
    effect=Effect.READ,
    cli=("env", "inspect"),
    tool=None,
    sdk="inspect_environment",
)
ENV_PRUNE = Operation(
    name="env_prune",
    title="Prune environments",
    description=(
        "Remove installs, templates and leftovers that no catalog entry, VM or workspace needs. Anything in"
        " use is kept."
    ),
    handler=_prune,
    effect=Effect.DESTROY,
    idempotent=True,
    cli=("env", "prune"),
    tool=None,
    sdk="prune_environments",
)

ROWS = (ENV_LIST, ENV_PULL, ENV_INSPECT, ENV_PRUNE)
