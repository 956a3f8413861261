"""Templates: saved VMs that every start is restored from.

A template that is missing or has changed since it was sealed is rebuilt before use, and none is removed while a start
uses it. Only the most recently used ones are kept.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.state.filenames import TEMPLATE_LOCKS
from pyro_mcp.state.locks import named_lock
from pyro_mcp.vmm.template import Template, TemplateParts, open_template

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.spec import TemplateRequest

#: How many templates are kept; the least recently used is removed first. Each takes 100 to 200 MiB.
MAX_TEMPLATES = 8
# A cold boot takes seconds; another process may be making several.
_LOCK_TIMEOUT_S = 180.0


@contextmanager
def using_template(engine: Engine, request: TemplateRequest) -> Generator[Template]:
    """Yield the template, making it first if necessary; it is not removed inside the block.

    Raises:
        PyroError: any reason why it can't be made.
    """
    parts = request.parts()
    key = parts.key
    directory = engine.paths.templates / key
    for last_attempt in (False, True):
        with _lock(engine.paths, key, shared=True):
            template = _open(engine, key, quiet=last_attempt)
            if template is not None:
                _mark_used(template)
                yield template
                return
            if last_attempt:
                break
        make_missing(engine, request, parts)
    raise PyroError(
        ErrorCode.UNAVAILABLE,
        f"the template {key} vanished or changed while it was about to be used",
        hint=f"Run the command again; if that does not help, remove {directory}.",
    )


def make_missing(engine: Engine, request: TemplateRequest, parts: TemplateParts) -> bool:
    """Make a template unless it exists; return whether it was made. One process makes it, others wait.

    Raises:
        PyroError: any reason why it can't be made.
    """
    key = parts.key
    # Taken in addition to the key's own lock, and first, so that waiting processes do not lock out the maker.
    with _lock(engine.paths, f"make {key}"):
        if _open(engine, key, quiet=False) is not None:
            return False
        from pyro_mcp.workspace.machines.template_making import make_template

        make_template(engine, request, parts, publishing=_lock(engine.paths, key))
        keep_recent(engine.paths, spare=key)
        return True


def discard_template(paths: Paths, key: str, *, timeout_s: float = 0.0) -> bool:
    """Remove a template unless a start uses it; return whether it is gone.

    Raises:
        PyroError: PERMISSION and others.
    """
    try:
        with _lock(paths, key, timeout_s=timeout_s):
            aside = ensure_private_dir(paths.tmp) / os.urandom(8).hex()
            with suppress(FileNotFoundError):
                os.rename(paths.templates / key, aside)
                fault_point("template.moved_aside")
            remove_tree(aside)
            return True
    except PyroError as error:
        if error.code is ErrorCode.BUSY:
            return False
        raise


def keep_recent(paths: Paths, *, spare: str = "", keep: int = MAX_TEMPLATES) -> list[str]:
    """Remove the least recently used templates, down to `keep`, and return their keys."""
    ages: list[tuple[float, str]] = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(paths.templates):
            with suppress(FileNotFoundError):
                ages.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
    surplus = [key for _, key in sorted(ages, reverse=True) if key != spare][max(0, keep - bool(spare)) :]
    return [key for key in surplus if discard_template(paths, key)]


def _open(engine: Engine, key: str, *, quiet: bool) -> Template | None:
    try:
        return open_template(engine.paths.templates / key, key)
    except PyroError as error:
        if error.code is ErrorCode.NOT_FOUND:
            return None
        if error.code is not ErrorCode.CORRUPT:
            raise
        if not quiet:
            engine.notice(f"{error.message}: rebuilding it")
        return None


def _mark_used(template: Template) -> None:
    # Only the directory's time: those of the files are sealed.
    with suppress(OSError):
        os.utime(template.directory)


@contextmanager
def _lock(paths: Paths, name: str, *, shared: bool = False, timeout_s: float = _LOCK_TIMEOUT_S) -> Generator[None]:
    with named_lock(
        paths.locks / TEMPLATE_LOCKS, name, shared=shared, timeout_s=timeout_s, waiting_for=f"the template {name}"
    ):
        yield
