"""Apply a patch in a workspace: parse it, fetch the files it names, plan, write.

The whole change is planned on the host before the guest writes, and the guest applies all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyro_mcp import patches
from pyro_mcp.agent import CancelToken
from pyro_mcp.agent import file_values as agent
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind
from pyro_mcp.state.journal import note_activity
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.guest import guest_of

# How many files of a patch a reviewer is shown.
_LISTED_FILES = 50


@dataclass(frozen=True, slots=True)
class Patched:
    """A patch that was applied."""

    workspace_id: str
    plan: patches.Plan


class FetchedTree:
    """The tree that a patch is planned on: files fetched from a workspace at one time."""

    def __init__(self, fetched: Mapping[bytes, agent.Fetched]) -> None:
        self._fetched = fetched

    def kind(self, path: str) -> FileKind | None:
        """Return the kind of the entry at a path."""
        found = self._fetched.get(_name(path))
        return None if found is None else found.kind

    def read(self, path: str) -> bytes | None:
        """Return a file's content."""
        found = self._fetched.get(_name(path))
        return None if found is None else found.data

    def mode(self, path: str) -> int:
        """Return a file's permission bits."""
        return self._fetched[_name(path)].mode


def apply_patch(engine: Engine, handle: str, patch: str, *, cancel: CancelToken | None = None) -> Patched:
    """Apply a patch completely, or not at all, with an error that says why.

    Raises:
        PyroError: INVALID, CONFLICT with `details["reason"]`; NO_SPACE in the guest; any failure of the guest.
    """
    parsed = patches.parse(patch)
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        guest = GuestFiles(session, cancel=cancel)
        prefix = use.workspace.seed.checkout_prefix
        inside = patches.below(parsed, prefix) if prefix else None
        # `diff` writes patches for the checkout around the seed; the workspace is a directory of that checkout.
        if inside is not None and not guest.fetch([_name(prefix.partition("/")[0])], max_file_bytes=1):
            parsed = inside
        else:
            prefix = ""
        names = [_name(path) for path in patches.paths_of(parsed)]
        # One byte over the limit, to notice a larger file.
        fetched = guest.fetch(names, max_file_bytes=patches.MAX_FILE_BYTES + 1)
        if use.workspace.secrets and "[REDACTED]" in patch:
            from pyro_mcp.workspace.secrets.keeping import redactor_for
            from pyro_mcp.workspace.secrets.restoring import Restorer

            paths = [path for path in patches.paths_of(parsed) if _name(path) in fetched]
            files = [(path, fetched[_name(path)].data or b"") for path in paths]
            restored = patches.parse(Restorer(redactor_for(engine.paths, use.workspace), files).patch(patch))
            parsed = patches.below(restored, prefix) or restored
        plan = patches.plan(parsed, FetchedTree(fetched))
        guest.apply([_change(each) for each in plan.changes])
        workspace_id = use.workspace.id
    note_activity(engine.store, engine.clock, workspace_id, event=ReviewEvent(ReviewKind.PATCH, _summary(plan)))
    return Patched(workspace_id, plan)


def _change(change: patches.Change) -> agent.Write | agent.Delete:
    if isinstance(change, patches.Delete):
        return agent.Delete(_name(change.path))
    return agent.Write(_name(change.path), change.data, change.mode, created=change.created)


def _name(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _summary(plan: patches.Plan) -> dict[str, object]:
    listed: list[object] = [
        {"path": each.path, "action": each.action.value, "added": each.added, "removed": each.removed}
        for each in plan.files[:_LISTED_FILES]
    ]
    added, removed = sum(each.added for each in plan.files), sum(each.removed for each in plan.files)
    return {"file_count": len(plan.files), "added": added, "removed": removed, "files": listed}
