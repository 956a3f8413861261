"""The request and the result of a summary.

Owns their fields and what is said of each. Refuses to know how they are brought together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.operations import ws_named
from pyro_mcp.operations.fields import said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.ws_review_values import DiffCounts, SnapshotFacts  # noqa: TC001 - as below
from pyro_mcp.operations.ws_values import SeedResult  # noqa: TC001 - schemas are made of annotations, at run time


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRequest:
    """Ask what happened in a workspace."""

    workspace_id: str = field(metadata=ws_named.HANDLE)


@dataclass(frozen=True, slots=True)
class SummaryCommand(Result):
    """One command and its outcome."""

    seq: int = field(metadata=said("Its number in the workspace's history."))
    command: str = field(metadata=said("The command, on one line."))
    outcome: str = field(metadata=said("How it ended, in words.", guest=True))
    exit_code: int | None = field(metadata=said("Its exit status; null if it has none."))
    timed_out: bool = field(metadata=said("Whether it ran past its timeout and was killed."))
    duration_ms: int = field(metadata=said("How long it ran."))


@dataclass(frozen=True, slots=True)
class SummaryFile(Result):
    """One file that differs from the baseline."""

    path: str = field(metadata=said("Its path below /workspace.", guest=True))
    status: str = field(metadata=said("What became of it: added, modified, deleted, type_changed."))
    added_lines: int = field(metadata=said("How many lines were added."))
    removed_lines: int = field(metadata=said("How many lines were removed."))
    reason: str = field(metadata=said("Why the diff's patch does not bring it, if so."))


@dataclass(frozen=True, slots=True)
class SummaryEvent(Result):
    """One thing that was done besides commands."""

    at: str = field(metadata=said("When (UTC)."))
    kind: str = field(metadata=said("What it was: patch, sync, snapshot, export, reset, file_write, start, stop."))
    text: str = field(metadata=said("What it was, in words.", guest=True))


@dataclass(frozen=True, slots=True)
class SummaryResult(Result):
    """What happened in a workspace since it was created or last reset. The lists hold what fits on a page."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    name: str | None = field(metadata=said("Its name."))
    environment: str = field(metadata=said("The environment it was made from."))
    state: str = field(metadata=said("Where it stands: started, stopped, failed, or between."))
    execution_mode: str | None = field(metadata=said("Where its commands run."))
    isolation: str | None = field(metadata=said("What stands between it and this host: kvm, tcg, none."))
    since: str = field(metadata=said("When it was created or last reset (UTC)."))
    reset_count: int = field(metadata=said("How often it was reset."))
    workspace_seed: SeedResult = field(metadata=said("What it began with."))
    command_count: int = field(metadata=said("How many commands were run."))
    failed_count: int = field(metadata=said("How many of them did not end with 0."))
    timed_out_count: int = field(metadata=said("How many of them ran past their timeout."))
    commands: tuple[SummaryCommand, ...] = field(metadata=said("The last commands, and those before that failed."))
    changes_known: bool = field(metadata=said("Whether it could be compared with its baseline."))
    changes_unknown_reason: str = field(metadata=said("Why it could not.", guest=True))
    changes: DiffCounts | None = field(metadata=said("How many files differ from the baseline, and how."))
    added_lines: int = field(metadata=said("How many lines were added in all."))
    removed_lines: int = field(metadata=said("How many lines were removed in all."))
    files: tuple[SummaryFile, ...] = field(metadata=said("The first of the files that differ."))
    event_count: int = field(metadata=said("How many things were done besides commands."))
    events: tuple[SummaryEvent, ...] = field(metadata=said("The last of them."))
    snapshots: tuple[SnapshotFacts, ...] = field(metadata=said("The snapshots that there are.", most=50))
    service_count: int = field(metadata=said("How many services it has."))
    running_service_count: int = field(metadata=said("How many of them run."))
    page: str = field(metadata=said("The same as one page for a chat or a pull request's comment.", guest=True))
