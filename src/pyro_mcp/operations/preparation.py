"""`pyro prepare`: make the next VM start fast, check it once, and record that.

A record is valid only while everything it depends on is unchanged, and only checked facts are recorded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import __version__
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.operations import environments, run
from pyro_mcp.operations.diagnosis import DailyLoopReport, PrepareRequest, PrepareResult
from pyro_mcp.operations.guest_commands import CommandResult
from pyro_mcp.operations.operation import Call, result_of, utc_text
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT, WorkspaceRequest
from pyro_mcp.operations.run import VmRunRequest
from pyro_mcp.operations.workspaces import commands, lifecycle, snapshots
from pyro_mcp.operations.workspaces.lifecycle import WorkspaceResult

_RECORD = "prepared.json"
_SCHEMA = 2
_LOCK_TIMEOUT_S = 30.0
_NETWORK_TIMEOUT_S = 60
# The guest's package archive is the one host that it certainly knows: resolve its name, then connect to it.
_REACH_OUT = (
    "archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null"
    " | sed -n 's#.*https*://\\([^/: ]*\\).*#\\1#p' | head -n 1);"
    ' [ -n "$archive" ] && getent hosts "$archive" && exec 3<> "/dev/tcp/$archive/80"'
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The inputs of a preparation, by the name used to report a change, and the template that it made."""

    facts: dict[str, str]
    template: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """One record: what was proven, when, and its dependencies."""

    facts: dict[str, str]
    network: bool
    prepared_at: str
    execution_mode: str
    isolation: str
    create_ms: int
    exec_ms: int
    reset_ms: int
    delete_ms: int


def prepare(request: PrepareRequest, call: Call) -> PrepareResult:
    """Install, warm and prove, unless an earlier preparation is still valid.

    Raises:
        PyroError: the reason why this host can't run a VM, or the failure of a proof.
    """
    environments.ENV_PULL.handler(environments.EnvPullRequest(environment=request.environment), call)
    loop = daily_loop(call.paths, request.environment)
    before = load(call.paths).get(request.environment)
    if before is not None and loop.status == "warm" and not request.force and (before.network or not request.network):
        return _result(before, loop, reused=True, reason=loop.reason)
    proven = _prove(request, call)
    _save(call.paths, request.environment, proven)
    reason = "it was asked for" if request.force else loop.reason.removesuffix(_advice(request.environment))
    if loop.status == "warm" and not request.force:
        reason = "the network was not proven yet"
    return _result(proven, daily_loop(call.paths, request.environment), reused=False, reason=reason)


def daily_loop(paths: Paths, environment: str = DEFAULT_ENVIRONMENT) -> DailyLoopReport:
    """Return whether the next VM of an environment starts fast, and why."""
    before = load(paths).get(environment)
    now = None if before is None else _dependencies(paths, environment)
    status, reason = _judged(before, now)
    return DailyLoopReport(
        environment=environment,
        status=status,
        reason=reason if status == "warm" else reason + _advice(environment),
        installed=now is not None or _is_installed(paths, environment),
        network_prepared=before is not None and before.network,
        prepared_at=before.prepared_at if before else None,
        manifest_path=str(paths.cache / _RECORD),
        cache_dir=str(paths.cache),
    )


def _advice(environment: str) -> str:
    return f"; run: pyro prepare {environment}"


def _judged(before: Prepared | None, now: Dependencies | None) -> tuple[str, str]:
    if before is None:
        return "cold", "never prepared"
    if now is None:
        return "stale", "it is no longer installed"
    changed = [what for what, value in now.facts.items() if before.facts.get(what) != value]
    if changed:
        return "stale", f"changed since: {', '.join(changed)}"
    if not now.template.is_dir():
        return "stale", "its template was removed"
    return "warm", "nothing it depends on has changed"


def _is_installed(paths: Paths, environment: str) -> bool:
    from pyro_mcp.image.environments import inspect_environment

    with suppress(PyroError):
        return inspect_environment(paths, environment).installed is not None
    return False


def load(paths: Paths) -> dict[str, Prepared]:
    """Return the records by environment. An unreadable file counts as none: preparing rewrites it."""
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
    """Return the current dependencies of a preparation, or None if one of them is not installed."""
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
    """Take one workspace from create to delete, after another one that warms the caches."""
    name = request.environment
    call.progress.phase("warm", f"creating a first workspace of {name}")
    _delete(_create(name, call), call)
    call.progress.phase("prove", "create, exec, reset, delete")
    spent: dict[str, int] = {}
    with _timed(spent, "create_ms"):
        made = _create(name, call)
    workspace = WorkspaceRequest(workspace_id=made.workspace_id)
    try:
        with _timed(spent, "exec_ms"):
            done = commands.WORKSPACE_EXEC.handler(_command(workspace, "touch prepared && ls /workspace"), call)
        _require_success(name, done, "a first command")
        with _timed(spent, "reset_ms"):
            snapshots.WORKSPACE_RESET.handler(snapshots.ResetRequest(workspace_id=workspace.workspace_id), call)
        after = commands.WORKSPACE_EXEC.handler(_command(workspace, "! test -e prepared"), call)
        _require_success(name, after, "looking for what a reset should have removed")
    except BaseException:
        with suppress(PyroError):
            lifecycle.WORKSPACE_DELETE.handler(workspace, call)
        raise
    with _timed(spent, "delete_ms"):
        _delete(made, call)
    if request.network:
        call.progress.phase("network", "a guest connects to its package archive")
        _require_success(name, _reach_out(name, call), "connecting to its package archive")
    found = _dependencies(call.paths, name)
    return Prepared(
        facts=found.facts if found else {},
        network=request.network,
        prepared_at=utc_text(time.time()),
        execution_mode=done.execution_mode,
        isolation=done.isolation,
        **spent,
    )


def _create(environment: str, call: Call) -> WorkspaceResult:
    return lifecycle.WORKSPACE_CREATE.handler(lifecycle.WorkspaceCreateRequest(environment=environment), call)


def _delete(workspace: WorkspaceResult, call: Call) -> None:
    lifecycle.WORKSPACE_DELETE.handler(WorkspaceRequest(workspace_id=workspace.workspace_id), call)


def _command(workspace: WorkspaceRequest, line: str) -> commands.WorkspaceExecRequest:
    return commands.WorkspaceExecRequest(workspace_id=workspace.workspace_id, command=line)


@contextmanager
def _timed(spent: dict[str, int], name: str) -> Generator[None]:
    began = time.monotonic()
    yield
    spent[name] = int((time.monotonic() - began) * 1000)


def _reach_out(environment: str, call: Call) -> CommandResult:
    request = VmRunRequest(
        environment=environment, command=("bash", "-c", _REACH_OUT), network=True, timeout_seconds=_NETWORK_TIMEOUT_S
    )
    return run.VM_RUN.handler(request, call)


def _require_success(environment: str, done: CommandResult, what: str) -> None:
    if done["exit_code"] != 0:
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"{what} failed in a guest of {environment} with exit status {done['exit_code']}: {done['stderr'][-500:]}",
            hint="Run: `pyro doctor`",
        )


def _result(prepared: Prepared, loop: DailyLoopReport, *, reused: bool, reason: str) -> PrepareResult:
    told = {**loop, "reason": reason, "network_prepared": prepared.network}
    return result_of(PrepareResult, prepared, prepared=True, reused=reused, **told)
