"""Results as text for a person.

Every value goes through `printable_line`, so that no foreign control characters reach our output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.cli.output.tables import facts, fitted, size, table
from pyro_mcp.cli.streams import put, say
from pyro_mcp.operations.printable import printable_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.diagnosis import DoctorResult, PrepareResult
    from pyro_mcp.operations.environments import EnvListResult, EnvPruneResult, EnvPullResult
    from pyro_mcp.operations.network import NetworkPresetsResult
    from pyro_mcp.operations.operation import Operation, Result
    from pyro_mcp.operations.vms import VmDeleteResult, VmListResult, VmReapExpiredResult


def show(operation: Operation[Any, Any], result: Result) -> None:
    """Write a result for a person to stdout."""
    if operation.cli is not None and operation.cli[0] == "workspace":
        from pyro_mcp.cli.output.workspaces import show_workspace_result

        show_workspace_result(operation.name, result)
    else:
        put(render(operation, result))


def render(operation: Operation[Any, Any], result: Result) -> str:
    """Return the text for a result."""
    if operation.name == "network_presets":
        from pyro_mcp.cli.output.network import presets

        return presets(cast("NetworkPresetsResult", result))
    renderer = _RENDERERS.get(operation.name)
    return renderer(result) if renderer else facts(result)


def _env_list(result: EnvListResult) -> str:
    lines = [f"Catalog version: {result.catalog_version}"]
    for each in result.environments:
        told = [size(each.size_bytes)] if each.size_bytes is not None and each.installed else []
        told += ["outdated"] if each.outdated else []
        told += [f"broken: {each.reason}"] if each.state == "broken" else []
        more = f" ({', '.join(told)})" if told else ""
        state = "installed" if each.installed else "not installed"
        lines.append(fitted(*map(printable_line, (f"{each.name} [{state}] ", each.description, more))))
    return "\n".join(lines)


def _env_pull(result: EnvPullResult) -> str:
    say(f"[pull] phase=ready environment={result.name}")
    told = {
        "Pulled": result.name,
        "Version": result.version,
        "Distribution": f"{result.distribution} {result.distribution_version}",
        "Installed": "yes" if result.installed else "no",
        "Cache dir": result.cache_dir,
        "Default packages": ", ".join(result.default_packages),
        "Install dir": result.install_dir,
        "OCI source": result.oci_reference or f"none ({result.source})",
        "Size": size(result.size_bytes or 0),
        "Digest": result.digest,
        "Kernel": result.kernel_image,
    }
    return "\n".join(printable_line(f"{name}: {value}") for name, value in told.items())


def _env_prune(result: EnvPruneResult) -> str:
    removed = [*(f"environment {each}" for each in result.deleted_environment_dirs), *result.deleted_other_dirs]
    lines = [f"removed {printable_line(each)}" for each in removed]
    lines += [f"skipped, since it is being pulled: {printable_line(each)}" for each in result.skipped]
    return "\n".join([*lines, f"freed {size(result.freed_bytes)}"])


def _vm_list(result: VmListResult) -> str:
    if not result.vms:
        return "no VMs"
    rows = [
        (vm.vm_id, vm.state, vm.environment, vm.isolation, f"{vm.vcpu_count} CPU, {vm.mem_mib} MiB", vm.expires_at)
        for vm in result.vms
    ]
    return table(("VM", "STATE", "ENVIRONMENT", "ISOLATION", "SHAPE", "EXPIRES"), rows)


def _vm_delete(result: VmDeleteResult) -> str:
    return f"deleted {result.vm_id}"


def _vm_reap_expired(result: VmReapExpiredResult) -> str:
    return "\n".join(f"deleted {vm_id}" for vm_id in result.deleted_vm_ids) or "no expired VMs"


def _demo(result: Result) -> str:
    import json

    # It always prints one JSON object, with or without --json.
    return json.dumps(result, indent=2)


def _doctor(result: DoctorResult) -> str:
    from pyro_mcp.cli.output.doctor import doctor_report

    return doctor_report(result)


def _prepare(result: PrepareResult) -> str:
    from pyro_mcp.cli.output.doctor import prepare_report

    return prepare_report(result)


_RENDERERS: dict[str, Callable[[Any], str]] = {
    "env_list": _env_list,
    "env_pull": _env_pull,
    "env_prune": _env_prune,
    "vm_list": _vm_list,
    "vm_delete": _vm_delete,
    "vm_reap_expired": _vm_reap_expired,
    "demo": _demo,
    "doctor": _doctor,
    "prepare": _prepare,
}
