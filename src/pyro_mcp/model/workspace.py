"""The record of a workspace, its snapshots, commands and review events. A changed workspace is a new value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pyro_mcp.model.command import Captured
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import BaseImage, Owner
from pyro_mcp.protocol.names import WORKSPACE

#: The snapshot that always exists.
BASELINE = "baseline"


class SeedOrigin(StrEnum):
    """Who chose the seed of a workspace."""

    EMPTY = "empty"
    MANUAL_SEED_PATH = "manual_seed_path"
    PROJECT_PATH = "project_path"
    REPO_URL = "repo_url"


@dataclass(frozen=True, slots=True)
class SeedNote:
    """An entry that was omitted or changed in a seed: a printable name, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SeedInfo:
    """The seed of a workspace. `skipped` and `changed` have the first entries; the counts include all.

    `ignored_count` and `ignored_bytes` describe files omitted because of rules; `notes` are sentences about the whole
    seed. `mode` is `empty`, `directory` or `tar_archive`. `host_hooks` are the files (name, digest) that a host tool
    would run automatically, and that may be exported again. `checkout_prefix` is the path of the seed below the top of
    the git checkout that contains it: paths in patches begin with it. `checkout_rules` are the .gitignore files above.
    """

    mode: str = "empty"
    seed_path: str | None = None
    destination: str = WORKSPACE
    entry_count: int = 0
    bytes_written: int = 0
    origin_kind: SeedOrigin = SeedOrigin.EMPTY
    origin_ref: str | None = None
    skipped: tuple[SeedNote, ...] = ()
    skipped_count: int = 0
    changed: tuple[SeedNote, ...] = ()
    changed_count: int = 0
    host_hooks: tuple[tuple[str, str], ...] = ()
    ignored_count: int = 0
    ignored_bytes: int = 0
    largest_ignored: tuple[SeedNote, ...] = ()
    notes: tuple[str, ...] = ()
    checkout_prefix: str = ""
    checkout_rules: tuple[tuple[str, str], ...] = ()


class SecretKind(StrEnum):
    """The source of a secret's value."""

    LITERAL = "literal"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """The record of a secret, without its value. Values that are too short are not `redacted` in output."""

    name: str
    kind: SecretKind
    redacted: bool = True


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace.

    `life` is the number of the current generation, from 1; each reset increments it. Each generation's disks have their
    own directory. `vm_id` is the VM that runs it, or "". `owner` is set while a process works on it. `expires_at`
    (seconds since the epoch) is for display, and None unless it is running; the effective deadline is
    `deadline_boottime_s` in the boot `boot_id`.
    """

    id: str
    name: str | None
    labels: Mapping[str, str]
    environment: str
    base: BaseImage | None
    variables: Mapping[str, str]
    boot_digest: str
    shape: Shape
    ttl_s: int
    network_policy: NetworkPolicy
    allow_host_compat: bool
    require_kvm: bool
    state: WorkspaceState
    seed: SeedInfo
    created_at: float
    last_activity_at: float
    expires_at: float | None = None
    boot_id: str = ""
    deadline_boottime_s: float = 0.0
    stop_reason: StopReason | None = None
    execution_mode: ExecutionMode | None = None
    isolation: Isolation | None = None
    reset_count: int = 0
    last_reset_at: float | None = None
    command_count: int = 0
    life: int = 1
    vm_id: str = ""
    owner: Owner | None = None
    last_error: str = ""
    secrets: tuple[SecretSource, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    #: The titles of the certificates that its guest is given.
    ca_certificates: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the workspace's name, if it has one, and id, for messages."""
        return f"{self.name} ({self.id})" if self.name else self.id

    @property
    def is_host_compat(self) -> bool:
        """Return whether it uses host compat, and so has directories instead of disks."""
        return self.base is None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint of `/workspace`, and of the root file system unless `root_size_bytes` is None.

    `size_bytes` is its size on the host's disk, `root_size_bytes` the root's part of that.
    """

    name: str
    id: str
    created_at: float
    size_bytes: int
    root_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CommandRecord(Captured):
    """One command that was run in a workspace.

    `…_file_bytes` is how much of a stream, from its beginning, is in a separate file (0: the text is complete).
    `exit_code` is None if it is still running, or has no result: `error` then has the reason.
    """

    seq: int
    command: str | tuple[str, ...]
    cwd: str
    started_at: float
    stdout_file_bytes: int = 0
    stderr_file_bytes: int = 0
    error: str = ""
    owner: Owner | None = None


class ReviewKind(StrEnum):
    """The kinds of events in a workspace that are relevant to a reviewer."""

    COMMAND = "command"
    PATCH = "patch"
    SYNC = "sync"
    SNAPSHOT = "snapshot"
    EXPORT = "export"
    RESET = "reset"
    FILE_WRITE = "file_write"
    START = "start"
    STOP = "stop"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """Something that happened to a workspace. `seq` and `at` (seconds since the epoch) are given by the journal."""

    kind: ReviewKind
    summary: Mapping[str, object] = field(default_factory=dict[str, object])
    seq: int = 0
    at: float = 0.0
