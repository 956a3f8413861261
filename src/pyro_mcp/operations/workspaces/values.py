"""The requests and results of a workspace itself, and what other results show of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.model import limits
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, about, said
from pyro_mcp.operations.operation import Result

_STATE = said("Its state: started, stopped, failed, or in between (creating, starting, stopping, resetting, deleting).")
_STOP_REASON = said("Why it stopped: user, ttl, host_reboot, lost.")
_EXECUTION_MODE = said("Where its commands run: guest_virtio_serial, guest_vsock, or host_compat (no VM).")
_ISOLATION = said("Its isolation from this host: kvm, tcg (a VM in software), none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceCreateRequest:
    """Ask for a workspace."""

    environment: str = field(metadata=parameters.ENVIRONMENT)
    vcpu_count: int = field(default=limits.DEFAULT_VCPU_COUNT, metadata=parameters.VCPU_COUNT)
    mem_mib: int = field(default=limits.DEFAULT_MEM_MIB, metadata=parameters.MEM_MIB)
    ttl_seconds: int = field(default=limits.DEFAULT_WORKSPACE_TTL_S, metadata=parameters.WORKSPACE_TTL_SECONDS)
    network_policy: str = field(default="off", metadata=parameters.NETWORK_POLICY)
    allow_host_compat: bool = field(default=False, metadata=parameters.ALLOW_HOST_COMPAT)
    require_kvm: bool = field(default=False, metadata=parameters.REQUIRE_KVM)
    seed_path: str | None = field(
        default=None,
        metadata=parameters.host_path(
            ("A directory of this host, or a .tar, .tar.gz or .tgz file, to copy into /workspace (default: empty)."),
            place=Place.OPTION,
            names="HOST_PATH",
        ),
    )
    secrets: tuple[dict[str, str], ...] | None = field(default=None, metadata=parameters.SECRETS)
    name: str | None = field(default=None, metadata=parameters.NAME)
    labels: dict[str, str] | None = field(default=None, metadata=parameters.LABELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceListRequest:
    """Ask for all workspaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRequest:
    """Name one workspace."""

    workspace_id: str = field(metadata=parameters.HANDLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceUpdateRequest:
    """Ask for another name or other labels."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    name: str | None = field(default=None, metadata=parameters.NAME)
    clear_name: bool = field(default=False, metadata=about("Remove the name."))
    labels: dict[str, str] | None = field(default=None, metadata=parameters.LABELS)
    clear_labels: tuple[str, ...] | None = field(default=None, metadata=parameters.CLEAR_LABELS)


@dataclass(frozen=True, slots=True)
class NoteResult(Result):
    """Something about one file of a tree."""

    name: str = field(metadata=said("Its path in the tree."))
    reason: str = field(metadata=said("A remark about it."))


@dataclass(frozen=True, slots=True)
class SeedResult(Result):
    """What a workspace began with."""

    mode: str = field(metadata=said("The kind of seed: empty, directory, tar_archive."))
    seed_path: str | None = field(metadata=said("The directory or archive of this host."))
    destination: str = field(metadata=said("Where it was copied to in the guest."))
    entry_count: int = field(metadata=said("Number of files, directories and links copied."))
    bytes_written: int = field(metadata=said("Bytes of content copied."))
    origin_kind: str = field(metadata=said("Who chose it: empty, manual_seed_path, project_path, repo_url."))
    origin_ref: str | None = field(metadata=said("What exactly was chosen, of a repository for example."))
    skipped_count: int = field(metadata=said("Number of entries skipped."))
    skipped: tuple[NoteResult, ...] = field(metadata=parameters.SKIPPED)
    changed_count: int = field(metadata=said("Number of files that changed while they were read."))
    changed: tuple[NoteResult, ...] = field(metadata=parameters.CHANGED)


@dataclass(frozen=True, slots=True)
class SecretResult(Result):
    """A secret that a workspace has; its value is never shown."""

    name: str = field(metadata=said("Its name."))
    source_kind: str = field(metadata=said("Where its value came from: literal, file."))


@dataclass(frozen=True, slots=True)
class WorkspaceResult(Result):
    """One workspace."""

    workspace_id: str = field(metadata=parameters.WORKSPACE_ID)
    name: str | None = field(metadata=said("Its name."))
    labels: dict[str, str] = field(metadata=said("Its labels."))
    environment: str = field(metadata=said("The environment it was created from."))
    state: str = field(metadata=_STATE)
    stop_reason: str | None = field(metadata=_STOP_REASON)
    execution_mode: str | None = field(metadata=_EXECUTION_MODE)
    isolation: str | None = field(metadata=_ISOLATION)
    vcpu_count: int = field(metadata=said("Virtual CPUs."))
    mem_mib: int = field(metadata=said("Memory in MiB."))
    network_policy: str = field(metadata=said("Its network policy: off, egress, egress+published-ports."))
    secrets: tuple[SecretResult, ...] = field(metadata=said("Its secrets, without their values."))
    workspace_seed: SeedResult = field(metadata=said("Its seed."))
    ttl_seconds: int = field(metadata=said("Its idle timeout."))
    created_at: str = field(metadata=said("When it was created (UTC)."))
    expires_at: str | None = field(metadata=said("When it will be stopped if it stays idle (UTC)."))
    last_activity_at: str = field(metadata=said("When something last changed it (UTC)."))
    reset_count: int = field(metadata=said("Number of resets."))
    last_reset_at: str | None = field(metadata=said("When it was last reset (UTC)."))
    service_count: int = field(metadata=said("Number of services."))
    running_service_count: int = field(metadata=said("Number of services that are running."))
    command_count: int = field(metadata=said("Number of commands run since it was created or reset."))
    last_error: str = field(metadata=said("The last error."))


@dataclass(frozen=True, slots=True)
class WorkspaceEntry(Result):
    """One workspace in a list."""

    workspace_id: str = field(metadata=parameters.WORKSPACE_ID)
    name: str | None = field(metadata=said("Its name."))
    labels: dict[str, str] = field(metadata=said("Its labels."))
    environment: str = field(metadata=said("The environment it was created from."))
    state: str = field(metadata=_STATE)
    stop_reason: str | None = field(metadata=_STOP_REASON)
    execution_mode: str | None = field(metadata=_EXECUTION_MODE)
    isolation: str | None = field(metadata=_ISOLATION)
    created_at: str = field(metadata=said("When it was created (UTC)."))
    expires_at: str | None = field(metadata=said("When it will be stopped if it stays idle (UTC)."))
    last_activity_at: str = field(metadata=said("When something last changed it (UTC)."))
    reset_count: int = field(metadata=said("Number of resets."))
    command_count: int = field(metadata=said("Number of commands run since it was created or reset."))
    service_count: int = field(metadata=said("Number of services."))
    running_service_count: int = field(metadata=said("Number of services that are running."))


@dataclass(frozen=True, slots=True)
class WorkspaceListResult(Result):
    """All workspaces."""

    count: int = field(metadata=said("Number of entries."))
    workspaces: tuple[WorkspaceEntry, ...] = field(
        metadata=said(
            "The workspaces, most recently active first.",
            most=100,
            rest="Delete workspaces that are no longer needed.",
        )
    )


@dataclass(frozen=True, slots=True)
class WorkspaceDeleteResult(Result):
    """A workspace that is gone."""

    workspace_id: str = field(metadata=parameters.WORKSPACE_ID)
    deleted: bool = field(metadata=said("Always true: a failed deletion is an error."))
