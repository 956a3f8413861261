"""Workspaces: create, list, update, status, stop, start, delete."""

from __future__ import annotations

import time
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

from pyro_mcp.model import limits
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, asked, said
from pyro_mcp.operations.operation import (
    Call,
    Effect,
    EmptyRequest,
    Operation,
    Result,
    engine,
    result_of,
)
from pyro_mcp.operations.parameters import NoteResult, WorkspaceRequest
from pyro_mcp.operations.trust import certificates_given
from pyro_mcp.protocol.names import WORKSPACE

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.secrets.values import Secret

K = TypeVar("K", bound="WorkspaceResult")

# How long guests may take to report their services: one of them, or all in a list together.
_COUNT_TIMEOUT_S, _LEAST_TIMEOUT_S = 0.5, 0.02
_STATE = "Its state: started, stopped, failed, or in between (creating, starting, stopping, resetting, deleting)."
_STOP_REASON = "Why it stopped: user, ttl, host_reboot, lost."


class WorkspaceCreateRequest(Request):
    """Ask for a workspace."""

    environment: str = field(metadata=parameters.ENVIRONMENT)
    vcpu_count: int = field(default=limits.DEFAULT_VCPU_COUNT, metadata=parameters.VCPU_COUNT)
    mem_mib: int = field(default=limits.DEFAULT_MEM_MIB, metadata=parameters.MEM_MIB)
    ttl_seconds: int = field(default=limits.DEFAULT_WORKSPACE_TTL_S, metadata=parameters.WORKSPACE_TTL_SECONDS)
    network_policy: str = field(default="off", metadata=parameters.NETWORK_POLICY)
    allow_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.ALLOW_HOSTS)
    deny_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.DENY_HOSTS)
    allow_host_compat: bool = field(default=False, metadata=parameters.ALLOW_HOST_COMPAT)
    require_kvm: bool = field(default=False, metadata=parameters.REQUIRE_KVM)
    seed_path: str | None = field(
        default=None,
        metadata=parameters.host_path(
            "A directory, git checkout or archive (.tar, .tar.gz, .tgz) of this host to copy into /workspace.",
            place=Place.OPTION,
            names="HOST_PATH",
        ),
    )
    include_ignored: bool = asked("Copy files that git ignores too.", default=False)
    exclude: tuple[str, ...] | None = asked(
        "Files to leave out: patterns as in a .gitignore (also: a .pyroignore).",
        default=None,
        names="PATTERN",
        max_length=1024,
        form="a pattern as in a .gitignore, such as *.log or build/",
        pattern=r"^[^\n]+$",
    )
    secrets: tuple[dict[str, str], ...] | None = field(default=None, metadata=parameters.SECRETS)
    name: str | None = field(default=None, metadata=parameters.NAME)
    labels: dict[str, str] | None = field(default=None, metadata=parameters.LABELS)
    ca_files: tuple[str, ...] | None = field(default=None, metadata=parameters.CA_FILES)


class WorkspaceUpdateRequest(Request):
    """Ask for another name or other labels."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    name: str | None = field(default=None, metadata=parameters.NAME)
    clear_name: bool = asked("Remove the name.", default=False)
    labels: dict[str, str] | None = field(default=None, metadata=parameters.LABELS)
    clear_labels: tuple[str, ...] | None = field(default=None, metadata=parameters.CLEAR_LABELS)


class SeedResult(Result):
    """The initial content of a workspace."""

    mode: str = said("The kind of seed: empty, directory, tar_archive.")
    seed_path: str | None = said("The directory or archive of this host.")
    destination: str = said("Where it was copied to in the guest.")
    entry_count: int = said("Number of files, directories and links copied.")
    bytes_written: int = said("Bytes of content copied.")
    origin_kind: str = said("Who chose it: empty, manual_seed_path, project_path, repo_url.")
    origin_ref: str | None = said("The details of that choice, such as the ref of a repository.")
    skipped_count: int = said("Number of entries skipped.")
    skipped: list[NoteResult] = said(parameters.SKIPPED, most=20)
    changed_count: int = said("Number of files that changed while they were read.")
    changed: list[NoteResult] = said(parameters.CHANGED, most=20)
    ignored_count: int = said("Number of files left out because git ignores them, or by exclude.")
    ignored_bytes: int = said("Their size.")
    largest_ignored: list[NoteResult] = said("The largest of them, with their sizes.", most=5)
    notes: list[str] = said("Remarks, such as on history that was left out.", most=20)


class SecretResult(Result):
    """A secret of a workspace; its value is never shown."""

    name: str = said("Its name.")
    source_kind: str = said("Where its value came from: literal, file.")
    redacted: bool = said("Whether output shows it as [REDACTED]; not if it has less than 4 bytes.")


class WorkspaceEntry(Result):
    """One workspace in a list."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    name: str | None = said("Its name.")
    labels: dict[str, str] = said("Its labels.")
    environment: str = said("The environment it was created from.")
    state: str = said(_STATE)
    stop_reason: str | None = said(_STOP_REASON)
    execution_mode: str = said(f"{parameters.EXECUTION_MODE} Before its first start: pending.")
    isolation: str | None = said(parameters.ISOLATION)
    created_at: str = said("When it was created (UTC).")
    expires_at: str | None = said("When it will be stopped if it stays idle (UTC).")
    last_activity_at: str = said("When something last changed it (UTC).")
    reset_count: int = said("Number of resets.")
    command_count: int = said("Number of commands run since it was created or reset.")
    service_count: int = said("Number of services.")
    running_service_count: int = said("Number of services that are running.")
    network_policy: str = said(parameters.POLICY)
    allow_hosts: list[str] = said(parameters.ALLOWED)
    deny_hosts: list[str] = said(parameters.DENIED)


class LastCommand(Result):
    """The last command run in a workspace."""

    sequence: int = said("Its number in the workspace's history.")
    command: str = said("The command, as a line for a shell.")
    cwd: str = said("Its working directory.")
    exit_code: int | None = said("Its exit status; null if it has none.")
    duration_ms: int = said("Duration of the run.")
    execution_mode: str = said(parameters.EXECUTION_MODE)


class WorkspaceResult(WorkspaceEntry):
    """One workspace."""

    vcpu_count: int = said("Virtual CPUs.")
    mem_mib: int = said("Memory in MiB.")
    network_enabled: bool = said("Whether its policy is not off.")
    allow_host_compat: bool = said("Whether it may run on this host, without a VM.")
    guest_ip: str | None = said("Its IPv4 address in its private network.")
    secrets: list[SecretResult] = said("Its secrets, without their values.")
    ca_certificates: list[str] = said("The certificates added to its trust store.", most=20)
    workspace_path: str = said("Its tree in the guest: /workspace.")
    workspace_seed: SeedResult = said("Its seed.")
    ttl_seconds: int = said("Its idle timeout.")
    last_reset_at: str | None = said("When it was last reset (UTC).")
    last_command: LastCommand | None = said("The last command, since it was created or reset.")
    last_error: str = said("The last error.")


class WorkspaceListResult(Result):
    """All workspaces."""

    count: int = said("Number of entries.")
    workspaces: list[WorkspaceEntry] = said(
        "The workspaces, most recently active first.",
        most=100,
        rest="Delete workspaces that are no longer needed.",
    )


class WorkspaceDeleteResult(Result):
    """A deleted workspace."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    deleted: bool = said("Always true: a failed deletion is an error.")
    reason: str = said("Why: explicit_delete.")


def service_counts(using: Engine, workspace: Workspace, *, timeout_s: float = _COUNT_TIMEOUT_S) -> tuple[int, int]:
    """Return the numbers of all and of running services."""
    from pyro_mcp.state.filenames import VmFiles

    # Most have none: then the code that asks their guests is not even loaded.
    if not workspace.vm_id or not VmFiles(using.paths, workspace.vm_id).services.exists():
        return 0, 0
    from pyro_mcp.workspace.services.inspect import count_services

    return count_services(using, workspace, timeout_s=timeout_s)


def _create(request: WorkspaceCreateRequest, call: Call) -> WorkspaceResult:
    from pathlib import Path

    from pyro_mcp.model.kinds import NetworkPolicy
    from pyro_mcp.model.limits import Shape
    from pyro_mcp.trees.entries import SeedRules
    from pyro_mcp.workspace.lifecycle.create import create_workspace
    from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec

    secrets: tuple[Secret, ...] = ()
    if request.secrets:
        from pyro_mcp.operations.secrecy import secrets_given

        secrets = secrets_given(request.secrets)
    rules = SeedRules(request.include_ignored, exclude=request.exclude or ())
    project = None if call.host_access is None else call.host_access.project
    seed: dict[str, Any] = {"seed_rules": rules}
    if request.seed_path is not None:
        seed["seed"] = Path(request.seed_path)
    elif project is not None:
        seed = project.seed(rules)
    spec = WorkspaceSpec(
        environment=request.environment,
        shape=Shape(request.vcpu_count, request.mem_mib),
        ttl_s=request.ttl_seconds,
        network_policy=NetworkPolicy(request.network_policy),
        allow_hosts=request.allow_hosts or (),
        deny_hosts=request.deny_hosts or (),
        allow_host_compat=request.allow_host_compat,
        require_kvm=request.require_kvm,
        **seed,
        name=request.name,
        labels=request.labels or {},
        secrets=secrets,
        ca_certificates=certificates_given(request.ca_files),
    )
    with engine(call) as using:
        return workspace_result(WorkspaceResult, using, create_workspace(using, spec))


def _list(_request: EmptyRequest, call: Call) -> WorkspaceListResult:
    from pyro_mcp.workspace.lifecycle.lookup import list_workspaces

    with engine(call) as using:
        # Unresponsive guests must not delay the list, however many there are.
        until_s = time.monotonic() + _COUNT_TIMEOUT_S
        found = [
            (each, service_counts(using, each, timeout_s=max(_LEAST_TIMEOUT_S, until_s - time.monotonic())))
            for each in list_workspaces(using)
        ]
    entries = [result_of(WorkspaceEntry, each, **_entry_fields(each, services)) for each, services in found]
    return WorkspaceListResult(len(entries), entries)


def _update(request: WorkspaceUpdateRequest, call: Call) -> WorkspaceResult:
    from pyro_mcp.workspace.lifecycle.lookup import update_workspace
    from pyro_mcp.workspace.lifecycle.spec import WorkspaceChange

    change = WorkspaceChange(
        name=request.name,
        clear_name=request.clear_name,
        labels=request.labels or {},
        clear_labels=request.clear_labels or (),
    )
    with engine(call) as using:
        workspace = update_workspace(using, request.workspace_id, change)
        return workspace_result(WorkspaceResult, using, workspace, service_counts(using, workspace))


def _status(request: WorkspaceRequest, call: Call) -> WorkspaceResult:
    from pyro_mcp.workspace.lifecycle.lookup import status_workspace

    with engine(call) as using:
        workspace = status_workspace(using, request.workspace_id)
        return workspace_result(WorkspaceResult, using, workspace, service_counts(using, workspace))


def _stop(request: WorkspaceRequest, call: Call) -> WorkspaceResult:
    from pyro_mcp.workspace.lifecycle.stop import stop_workspace

    with engine(call) as using:
        return workspace_result(WorkspaceResult, using, stop_workspace(using, request.workspace_id))


def _start(request: WorkspaceRequest, call: Call) -> WorkspaceResult:
    from pyro_mcp.workspace.lifecycle.start import start_workspace

    with engine(call) as using:
        return workspace_result(WorkspaceResult, using, start_workspace(using, request.workspace_id))


def _delete(request: WorkspaceRequest, call: Call) -> WorkspaceDeleteResult:
    from pyro_mcp.workspace.lifecycle.delete import delete_workspace
    from pyro_mcp.workspace.lifecycle.lookup import find_workspace

    with engine(call) as using:
        found = find_workspace(using, request.workspace_id)
        delete_workspace(using, found.id)
    return WorkspaceDeleteResult(found.id, deleted=True, reason="explicit_delete")


def workspace_result(
    kind: type[K], using: Engine, workspace: Workspace, services: tuple[int, int] = (0, 0), **given: object
) -> K:
    """Return a workspace as a result. `services` are the numbers of all and of running services."""
    from pyro_mcp.model.kinds import NetworkPolicy

    return result_of(
        kind,
        workspace,
        vcpu_count=workspace.shape.vcpu_count,
        mem_mib=workspace.shape.mem_mib,
        network_enabled=workspace.network_policy is not NetworkPolicy.OFF,
        guest_ip=_guest_ip(using, workspace),
        secrets=[SecretResult(each.name, each.kind.value, each.redacted) for each in workspace.secrets],
        ca_certificates=list(workspace.ca_certificates),
        workspace_path=WORKSPACE,
        workspace_seed=workspace.seed,
        ttl_seconds=workspace.ttl_s,
        last_command=_last_command(using, workspace),
        **given,
        **_entry_fields(workspace, services),
    )


def _guest_ip(using: Engine, workspace: Workspace) -> str | None:
    vm = using.store.vms.find(workspace.vm_id) if workspace.vm_id else None
    if vm is None or not vm.network:
        return None
    from pyro_mcp.operations.vms import address_in

    address = address_in(vm.network, "ipv4")
    return address.address if address else None


def _last_command(using: Engine, workspace: Workspace) -> LastCommand | None:
    if not workspace.command_count:
        return None
    from pyro_mcp.workspace.commands.logs import logs_workspace

    records = logs_workspace(using, workspace.id)
    if not records:
        return None
    mode = workspace.execution_mode or "pending"
    return result_of(LastCommand, records[-1], sequence=records[-1].seq, execution_mode=mode)


def _entry_fields(workspace: Workspace, services: tuple[int, int]) -> dict[str, Any]:
    return {
        "workspace_id": workspace.id,
        "labels": dict(workspace.labels),
        "execution_mode": workspace.execution_mode or "pending",
        "service_count": services[0],
        "running_service_count": services[1],
    }


WORKSPACE_CREATE = Operation(
    name="workspace_create",
    title="Create a workspace",
    description=(
        "Create and start a workspace: an isolated sandbox, a virtual machine whose /workspace starts as a copy of a"
        " directory or archive of this host, or empty. Changes persist between calls, and nothing reaches this host"
        " unless it is exported. After ttl_seconds without use it is stopped and everything is kept; the"
        " next use starts it again."
    ),
    tool_description=(
        "\n\nUse it as a container: to run tests, builds, npm or pip, to reproduce a bug in a fresh checkout, to"
        " evaluate untrusted code, to try a dangerous command safely. Returns workspace_id, which every other workspace"
        " tool takes; it is valid until workspace_delete. Give seed_path to work on a project. The original is never"
        " changed: review the outcome with workspace_diff and copy it out with workspace_export. Use one workspace per"
        " task, workspace_reset to start over, and workspace_delete at the end."
    ),
    handler=_create,
    effect=Effect.WRITE,
    cli=("workspace", "create"),
    sdk="create_workspace",
    only=("id-only", "workspace_id"),
)
WORKSPACE_LIST = Operation(
    name="workspace_list",
    title="List workspaces",
    description="List workspaces with their states, names and labels, most recently active first.",
    handler=_list,
    effect=Effect.READ,
    cli=("workspace", "list"),
    sdk="list_workspaces",
)
WORKSPACE_UPDATE = Operation(
    name="workspace_update",
    title="Name or label a workspace",
    description=(
        "Set or remove the name of a workspace, and set or remove labels. Labels that are not mentioned are kept."
    ),
    handler=_update,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "update"),
    sdk="update_workspace",
)
WORKSPACE_STATUS = Operation(
    name="workspace_status",
    title="Show a workspace's status",
    description=(
        "Show a workspace: its state, isolation and seed, when it was last used and when it will be"
        " stopped, and how many resets and commands it has had."
    ),
    handler=_status,
    effect=Effect.READ,
    cli=("workspace", "status"),
    sdk="status_workspace",
)
WORKSPACE_STOP = Operation(
    name="workspace_stop",
    title="Stop a workspace",
    description=(
        "Stop a workspace. /workspace, the root file system (with installed packages), snapshots and"
        " history are kept; running processes end."
    ),
    handler=_stop,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "stop"),
    sdk="stop_workspace",
)
WORKSPACE_START = Operation(
    name="workspace_start",
    title="Start a workspace",
    description=(
        "Start a stopped workspace, with the same root file system and /workspace. Operations that need it"
        " running start it by themselves."
    ),
    handler=_start,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "start"),
    sdk="start_workspace",
)
WORKSPACE_DELETE = Operation(
    name="workspace_delete",
    title="Delete a workspace",
    description=(
        "Delete a workspace with its disks, snapshots and history, running or not. Only what was exported"
        " before remains."
    ),
    handler=_delete,
    effect=Effect.DESTROY,
    cli=("workspace", "delete"),
    sdk="delete_workspace",
)

ROWS = (
    WORKSPACE_CREATE,
    WORKSPACE_LIST,
    WORKSPACE_UPDATE,
    WORKSPACE_STATUS,
    WORKSPACE_STOP,
    WORKSPACE_START,
    WORKSPACE_DELETE,
)
