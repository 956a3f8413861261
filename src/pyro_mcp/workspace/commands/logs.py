"""List the commands that ran in a workspace, each with its exit code or the reason it has none.

Listing needs no guest and does not count as activity.
"""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.model.workspace import CommandRecord, ReviewEvent
from pyro_mcp.state.journal import commands_of, events_of
from pyro_mcp.state.store import is_alive
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import find_workspace


def logs_workspace(engine: Engine, handle: str) -> tuple[CommandRecord, ...]:
    """Return the commands run in a workspace since it was created or reset, oldest first.

    Raises:
        PyroError: NOT_FOUND.
    """
    return tuple(_judged(record) for record in commands_of(engine.store, find_workspace(engine, handle).id))


def events_workspace(engine: Engine, handle: str) -> tuple[ReviewEvent, ...]:
    """Return what happened to a workspace since it was created or reset, oldest first.

    Raises:
        PyroError: NOT_FOUND.
    """
    return tuple(events_of(engine.store, find_workspace(engine, handle).id))


def _judged(record: CommandRecord) -> CommandRecord:
    if record.owner is None or is_alive(record.owner):
        return record
    return replace(record, error="the process that ran it was killed; the command was ended with it", owner=None)
