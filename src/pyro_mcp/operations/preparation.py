"""`pyro prepare`: make the next VM start fast, check it once, and record that.

A record counts only while everything it depends on is unchanged, and only what was checked is recorded.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import __version__
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.operations import environments, run, vms
from pyro_mcp.operations.diagnosis import DailyLoopReport, PrepareRequest, PrepareResult
from pyro_mcp.operations.operation import Call, result_of, utc_text
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT
from pyro_mcp.operations.run import VmCreateRequest, VmExecRequest, VmExecResult, VmRunRequest
from pyro_mcp.operations.vms import VmRequest

_RECORD = "prepared.json"
_SCHEMA = 1
_LOCK_TIMEOUT_S = 30.0
_NETWORK_TIMEOUT_S = 60
# The guest's own package archive is the one host that it surely knows: resolved, then connected to.
_REACH_OUT = (
    "archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null"
    " | sed -n 's#.*https*://\\([^/: ]*\\).*#\\1#p' | head -n 1);"
    ' [ -n "$archive" ] && getent hosts "$archive" && exec 3<> "/dev/tcp/$archive/80"'
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The inputs of a preparation, by the name in which a change is reported, and the template that it made."""

    facts: dict[str, str]
    template: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """One record: what was proven, when, and what it depended on."""

    facts: dict[str, str]
    network: bool
    prepared_at: str
    execution_mode: str
    isolation: str
    create_ms: int
    exec_ms: int
    delete_ms: int


def prepare(request: PrepareRequest, call: Call) -> PrepareResult:
    """Install, warm and prove, unless an earlier preparation still holds.

    Raises:
        PyroError: whatever keeps a VM from being made here, or what a proof showed.
    """
    environments.ENV_PULL.handler(environments.EnvPullRequest(environment=request.environment), call)
    loop = daily_loop(call.paths, request.environment)
    before = load(call.paths).get(request.environment)
    if before is not None and loop.state == "warm" and not request.force and (before.network or not request.network):
        return _result(request.environment, before, reused=True, reason=loop.reason)
    proven = _prove(request, call)
    _save(call.paths, request.environment, proven)
    reason = "it was asked for" if request.force else loop.reason
    if loop.state == "warm" and not request.force:
        reason = "the network was not proven yet"
    return _result(request.environment, proven, reused=False, reason=reason)


def daily_loop(paths: Paths, environment: str = DEFAULT_ENVIRONMENT) -> DailyLoopReport:
    """Return whether the next VM of an environment starts fast, and why."""
    fix = f"run: pyro prepare {environment}"
    before = load(paths).get(environment)
    if before is None:
        return DailyLoopReport("cold", f"never prepared; {fix}", None)
    now = _dependencies(paths, environment)
    if now is None:
        return DailyLoopReport("stale", f"it is no longer installed; {fix}", before.prepared_at)
    changed = [what for what, value in now.facts.items() if before.facts.get(what) != value]
    if changed:
        return DailyLoopReport("stale", f"changed since: {', '.join(changed)}; {fix}", before.prepared_at)
    if not now.template.is_dir():
        return DailyLoopReport("stale", f"its template was removed; {fix}", before.prepared_at)
    return DailyLoopReport("warm", "nothing it depends on has changed", before.prepared_at)


def load(paths: Paths) -> dict[str, Prepared]:
    """Return the records by environment. A file that can't be read as one counts as none: preparing rewrites it."""
    try:
        document = json.loads((paths.cache / _RECORD).read_bytes())
        if document["schema"] != _SCHEMA:
            return {}
        found = {name: Prepared(**entry) for name, entry in document["environments"].items()}
        return {name: entry for name, entry in found.items() if isinstance(entry.facts, dict)}  # pyright: ignore[reportUnnecessaryIsInstance]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _save(paths: Paths, environment: str, proven: Prepared) -> None:
    from dataclasses import asdict

    from pyro_mcp.host.durable import atomic_write
    from pyro_mcp.host.locks import file_lock
    from pyro_mcp.host.paths import ensure_private_dir

    lock = ensure_private_dir(paths.locks) / "prepared"
    with file_lock(lock, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the record of preparations"):
        entries = {name: asdict(entry) for name, entry in load(paths).items()}
        entries[environment] = asdict(proven)
        document = {"schema": _SCHEMA, "environments": entries}
        atomic_write(paths.cache / _RECORD, json.dumps(document, indent=1).encode())


def _dependencies(paths: Paths, environment: str) -> Dependencies | None:
    """Return what a preparation would depend on now, or None where something of it is not installed."""
    from pyro_mcp.agent import Flavour
    from pyro_mcp.image.boot import find_boot_source
    from pyro_mcp.model.kinds import NetworkPolicy
    from pyro_mcp.model.limits import Shape
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.images import Images, find_environment_or_none
    from pyro_mcp.workspace.machines.selection import Demands, choose
    from pyro_mcp.workspace.machines.spec import TemplateRequest

    with Engine(paths) as engine:
        installed = find_environment_or_none(engine, environment)
        boot = find_boot_source(paths)
        if installed is None or boot is None:
            return None
        demands = Demands(NetworkPolicy.OFF, allow_host_compat=False, require_kvm=False)
        request = TemplateRequest(choose(engine, demands), Images(installed, boot), Shape(), Flavour.FRESH)
        parts = request.parts()
    facts = {
        "this release": __version__,
        "the environment": parts.base_digest,
        "the kernel or the agent": parts.boot_digest,
        "the VMM": f"{parts.kind.value} {parts.vmm.version} {parts.vmm.fingerprint}",
        "the acceleration": parts.accelerator.value,
        "the processor": parts.cpu,
    }
    return Dependencies(facts, paths.templates / parts.key)


def _prove(request: PrepareRequest, call: Call) -> Prepared:
    name = request.environment
    call.progress.phase("warm", f"starting a first VM of {name}")
    vm = _create(name, call)
    try:
        vms.VM_START.handler(vm, call)
    except BaseException:
        _delete_quietly(vm, call)
        raise
    began = time.monotonic()
    vms.VM_DELETE.handler(vm, call)
    delete_ms = _since_ms(began)
    call.progress.phase("prove", "create, exec, delete")
    began = time.monotonic()
    vm = _create(name, call)
    try:
        vms.VM_START.handler(vm, call)
        create_ms = _since_ms(began)
        began = time.monotonic()
        done = vms.VM_EXEC.handler(VmExecRequest(vm_id=vm.vm_id, command=("true",)), call)
        exec_ms = _since_ms(began)
    except BaseException:
        _delete_quietly(vm, call)
        raise
    _require_success(done, "a first command")
    if request.network:
        call.progress.phase("network", "a guest connects to its package archive")
        _require_success(_reach_out(name, call), "connecting to its package archive")
    found = _dependencies(call.paths, name)
    return Prepared(
        facts=found.facts if found else {},
        network=request.network,
        prepared_at=utc_text(time.time()),
        execution_mode=done.execution_mode,
        isolation=done.isolation,
        create_ms=create_ms,
        exec_ms=exec_ms,
        delete_ms=delete_ms,
    )


def _create(environment: str, call: Call) -> VmRequest:
    return VmRequest(vm_id=vms.VM_CREATE.handler(VmCreateRequest(environment=environment), call).vm_id)


def _delete_quietly(vm: VmRequest, call: Call) -> None:
    with suppress(PyroError):
        vms.VM_DELETE.handler(vm, call)


def _reach_out(environment: str, call: Call) -> VmExecResult:
    request = VmRunRequest(
        environment=environment, command=("bash", "-c", _REACH_OUT), network=True, timeout_seconds=_NETWORK_TIMEOUT_S
    )
    return run.VM_RUN.handler(request, call)


def _require_success(done: VmExecResult, what: str) -> None:
    if done.exit_code != 0:
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"{what} failed in a guest of {done.environment} with exit status {done.exit_code}: {done.stderr[-500:]}",
            hint="Run: pyro doctor",
        )


def _since_ms(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _result(environment: str, prepared: Prepared, *, reused: bool, reason: str) -> PrepareResult:
    return result_of(PrepareResult, prepared, environment=environment, reused=reused, reason=reason)
