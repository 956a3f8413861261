"""Select the driver that runs a VM, from the host's capabilities and the caller's demands.

There is no silent fallback to the host: only with `allow_host_compat`, and only where no guest can be booted or
`PYRO_VMM=none` asks for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import Accelerator, NetworkPolicy
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.vmm.selection import NO_VMM, Selection
from pyro_mcp.workspace.engine import Engine

_FLAG = "`--allow-host-compat` runs the command on this host itself, without isolation"


@dataclass(frozen=True, slots=True)
class Demands:
    """The caller's demands on a VM."""

    network_policy: NetworkPolicy
    allow_host_compat: bool
    require_kvm: bool
    #: It was created where no guest could be booted, and has no image to boot.
    is_host_compat: bool = False


def demands_of(owner: Vm | Workspace) -> Demands:
    """Return the demands made when a VM or workspace was created."""
    return Demands(owner.network_policy, owner.allow_host_compat, owner.require_kvm, is_host_compat=owner.base is None)


def choose(engine: Engine, demands: Demands) -> Selection:
    """Choose the driver that runs a VM.

    Raises:
        PyroError: the reason why this host can't boot a guest, with a remedy; UNSUPPORTED if the demands contradict
            each other.
    """
    if demands.is_host_compat:
        return _host_compat(engine, demands)
    require_kvm = demands.require_kvm or os.environ.get("PYRO_REQUIRE_KVM", "") not in {"", "0"}
    if os.environ.get("PYRO_VMM") != NO_VMM:
        try:
            return engine.drivers.guest(require_kvm=require_kvm)
        except PyroError as error:
            if require_kvm or not demands.allow_host_compat:
                raise _without_fallback(error, require_kvm=require_kvm) from error
    elif require_kvm:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            "KVM is required, but PYRO_VMM=none forbids every VM",
            hint="Unset PYRO_VMM, or do without PYRO_REQUIRE_KVM and `--require-kvm`.",
        )
    elif not demands.allow_host_compat:
        raise PyroError(
            ErrorCode.UNAVAILABLE, "PYRO_VMM=none forbids every VM", hint=f"Unset PYRO_VMM, or allow it: {_FLAG}."
        )
    return _host_compat(engine, demands)


def _host_compat(engine: Engine, demands: Demands) -> Selection:
    if demands.network_policy.has_network:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"the network policy {demands.network_policy.value!r} needs a guest, and none can be booted here",
            hint="Omit the network policy: commands on the host itself use the host's network. `pyro doctor` reports"
            " what a guest needs.",
        )
    return Selection(engine.drivers.host(), Accelerator.NONE)


def _without_fallback(error: PyroError, *, require_kvm: bool) -> PyroError:
    hint = error.hint or "Run `pyro doctor`."
    if not require_kvm:
        hint = f"{hint} Or allow it: {_FLAG}."
    return PyroError(error.code, error.message, hint=hint, details=error.details)
