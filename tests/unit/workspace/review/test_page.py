"""The review page: what a reviewer is told, and that nothing a guest chose becomes markup."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import CommandRecord, ReviewEvent, ReviewKind, SeedInfo, SeedOrigin, Snapshot, Workspace
from pyro_mcp.workspace.review.composing import compose
from pyro_mcp.workspace.review.page import code, page
from pyro_mcp.workspace.review.review import MAX_COMMANDS, MAX_EVENTS, MAX_FILES, Review, review_of
from tests.unit.workspace.review.file_trees import a_file, told

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.workspace.review.changes import TreeChanges

WORKSPACE = Workspace(
    id="ws_" + "a" * 20,
    name="fix",
    labels={},
    environment="debian:12",
    base=None,
    variables={},
    boot_digest="",
    shape=Shape(),
    ttl_s=3600,
    network_policy=NetworkPolicy.OFF,
    allow_host_compat=False,
    require_kvm=False,
    state=WorkspaceState.STARTED,
    seed=SeedInfo("directory", "/src/app", "/workspace", 12, 3 * 1024 * 1024, SeedOrigin.MANUAL_SEED_PATH),
    created_at=1_790_000_000.0,
    last_activity_at=1_790_000_100.0,
    execution_mode=ExecutionMode.GUEST_VIRTIO_SERIAL,
    isolation=Isolation.TCG,
)


def ran(seq: int, command: str | tuple[str, ...] = "pytest -q", **changed: Any) -> CommandRecord:
    facts: dict[str, Any] = {"cwd": "/workspace", "started_at": 0.0, "exit_code": 0, **changed}
    return CommandRecord(seq, command, **facts)


def a_review(**changed: Any) -> Review:
    facts: dict[str, Any] = {"workspace": WORKSPACE, "commands": (), "events": (), "snapshots": (), "changes": None}
    return review_of(**{**facts, **changed})


@pytest.fixture
def changes(tmp_path: Path) -> TreeChanges:
    old = {b"src/a.py": a_file("1\n2\n"), b"gone": a_file("1\n")}
    new = {b"src/a.py": a_file("1\n3\n"), b"n`e`w": a_file("x\n"), b"bin": a_file(b"\0")}
    return compose(told(old, new), tmp_path / "scratch")


def test_a_page_tells_commands_files_events_and_state(changes: TreeChanges) -> None:
    text = page(
        a_review(
            commands=(
                ran(2, exit_code=1, duration_ms=2340),
                ran(4, ("pytest", "a b")),
                ran(5, exit_code=None, timed_out=True),
            ),
            events=(
                ReviewEvent(ReviewKind.START, {"created": True}, 1, WORKSPACE.created_at),
                ReviewEvent(ReviewKind.COMMAND, {"command_seq": 2}, 3),
                ReviewEvent(ReviewKind.PATCH, {"file_count": 2, "added": 3, "removed": 1}, 6, 1_790_000_060.0),
                ReviewEvent(
                    ReviewKind.EXPORT, {"path": "/workspace/out", "output_path": "/tmp/out", "entry_count": 3}, 7
                ),
            ),
            snapshots=(Snapshot("baseline", "snap_a", 0.0, 1), Snapshot("before", "snap_b", 0.0, 1)),
            changes=changes,
        )
    )
    assert text.splitlines() == [
        f"# Workspace fix ({WORKSPACE.id})",
        "",
        "debian:12 · started · guest_virtio_serial, tcg · created 2026-09-21 14:13:20 UTC",
        "Began as `/src/app` (12 entries, 3.0 MiB).",
        "",
        "## Commands: 3 runs, 2 failed, 1 of them timed out",
        "",
        "- #2 `pytest -q`: **exit 1** after 2.3 s",
        "- #4 `pytest 'a b'`: exit 0 after 0.0 s",
        "- #5 `pytest -q`: **timed out** after 0.0 s",
        "",
        "## Files: 4 differ (1 modified, 2 added, 1 deleted), +2 -2",
        "",
        "- deleted `gone` +0 -1",
        "- modified `src/a.py` +1 -1",
        "- added ``n`e`w`` +1 -0",
        "- added `bin` (binary)",
        "",
        "## Besides",
        "",
        "- 2026-09-21 14:13:20 UTC `created`",
        "- 2026-09-21 14:14:20 UTC `patched 2 files (+3 -1)`",
        "- 1970-01-01 00:00:00 UTC `exported /workspace/out to /tmp/out (3 entries)`",
        "",
        "Snapshots: `baseline`, `before`. Services: none.",
    ]


def test_a_workspace_in_which_nothing_happened_has_a_page_too(tmp_path: Path) -> None:
    review = a_review(
        workspace=replace(WORKSPACE, name=None, seed=SeedInfo()), changes=compose(told({}, {}), tmp_path / "scratch")
    )
    text = page(review)
    assert text.startswith(f"# Workspace {WORKSPACE.id}\n")
    assert "Began empty." in text
    assert "## Commands\n\nNone." in text
    assert "As in the baseline." in text
    assert text.endswith("Snapshots: none. Services: none.\n")


def test_one_of_a_kind_is_in_the_singular() -> None:
    summary: dict[str, object] = {"path": "/workspace/a", "output_path": "/tmp/a", "entry_count": 1}
    event = ReviewEvent(ReviewKind.EXPORT, summary, 1)
    text = page(a_review(workspace=replace(WORKSPACE, reset_count=1, last_reset_at=0.0), events=(event,)))
    assert "reset 1970-01-01 00:00:00 UTC" in text
    assert "(1 entry)" in text


def test_what_can_not_be_compared_is_said() -> None:
    stopped = replace(
        WORKSPACE, state=WorkspaceState.STOPPED, stop_reason=StopReason.TTL, reset_count=2, last_reset_at=0.0
    )
    text = page(a_review(workspace=stopped, no_changes_reason="the guest did not start"))
    assert "stopped (ttl)" in text
    assert "last of 2 resets 1970-01-01 00:00:00 UTC" in text
    assert "Not compared with the baseline: `the guest did not start`" in text


def test_a_page_stays_a_page_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    many = compose(told({}, {b"f%04d" % number: a_file("x\n") for number in range(300)}), tmp_path / "scratch")
    review = a_review(
        commands=[ran(number, "x" * 5000, exit_code=number % 50 == 0) for number in range(1, 500)],
        events=[ReviewEvent(ReviewKind.FILE_WRITE, {"path": f"/workspace/{n}", "size_bytes": 1}) for n in range(100)],
        changes=many,
    )
    text = page(review)
    assert (len(review.commands), len(review.files), len(review.events)) == (MAX_COMMANDS, MAX_FILES, MAX_EVENTS)
    assert "- … 479 others" in text
    assert "- … 260 others" in text
    assert "- … 80 before" in text
    assert len(text) < 10_000
    shown = [each.seq for each in review.commands]
    assert shown == sorted(set(shown))
    assert {50, 450, 499} <= set(shown)


def test_events_before_the_last_reset_are_forgotten() -> None:
    events = [
        ReviewEvent(ReviewKind.FILE_WRITE, {"path": "/workspace/a", "size_bytes": 1}),
        ReviewEvent(ReviewKind.RESET, {"snapshot": "baseline"}),
        ReviewEvent(ReviewKind.SNAPSHOT, {"name": "s", "deleted": True}),
        ReviewEvent(ReviewKind.STOP, {"reason": "user"}),
        ReviewEvent(ReviewKind.START, {"after": "user"}),
    ]
    review = a_review(events=events)
    texts = ["reset to baseline", "deleted snapshot s", "stopped (user)", "started again"]
    assert [each.text for each in review.events] == texts


def test_what_others_wrote_is_on_one_line_and_can_not_drive_a_terminal() -> None:
    review = a_review(commands=[ran(1, "a\n# b\x1b]52;c;x\x07\u202e", exit_code=None, error="it\x1b[2J went\naway")])
    text = page(review)
    assert "`a # b\\x1b]52;c;x\\x07\\u202e`: `it\\x1b[2J went away`" in text
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a``b`", "``` a``b` ```"), ("", "`  `")],
)
def test_code_is_fenced_by_more_backquotes_than_it_has(text: str, shown: str) -> None:
    assert code(text) == shown
