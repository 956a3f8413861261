"""The hosts of the policy `packages`, for an environment on this host; what was read is remembered until it changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import cast

from pyro_mcp.host.json_cache import read_cache, write_cache
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.image.environments import InstalledEnvironment
from pyro_mcp.image.reading import open_image
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.presets.asking import Question, ask_indexes
from pyro_mcp.workspace.presets.clients import Collected, Index, PresetHost, collect
from pyro_mcp.workspace.presets.places import HostPlace, ImagePlace

FILE_NAME = "package-hosts.json"
# Increase this when the same files are read in another way.
_FORMAT = 1
_MAX_REMEMBERED = 8
_MAX_HOSTS = 128


@dataclass(frozen=True, slots=True)
class Presets:
    """All hosts of the policy, and what a person should know: clients without a host, indexes that don't answer."""

    hosts: tuple[PresetHost, ...]
    notes: tuple[str, ...]


def package_hosts(engine: Engine, environment: InstalledEnvironment | None) -> tuple[PresetHost, ...]:
    """Return the hosts of the policy `packages` in an environment; without one, those of this host alone.

    Raises:
        PyroError: the cache directory can't be used.
    """
    return package_presets(engine, environment).hosts


def package_presets(
    engine: Engine, environment: InstalledEnvironment | None, *, host: HostPlace | None = None
) -> Presets:
    """Return the hosts of the policy `packages`, and notes. Each index is asked at most once a day.

    Raises:
        PyroError: the cache directory can't be used.
    """
    cache = ensure_private_dir(engine.paths.cache)
    collected = _collected(cache, environment, HostPlace() if host is None else host)
    questions = {Question(index.kind, index.address, index.file): index for index in collected.indexes}
    hosts, notes = list(collected.hosts), list(collected.notes)
    for question, answer in ask_indexes(cache, list(questions), engine.clock.wall_s()).items():
        client = questions[question].client
        known = {found.host for found in hosts if found.client == client}
        source = f"{client}: named by the index {question.address}"
        hosts += [PresetHost(name, source, client) for name in answer.hosts if name not in known]
        if answer.failure:
            lost = "an earlier answer is used" if answer.hosts else "hosts that only it names are missing"
            notes.append(f"{client}: the index {question.address} can't be asked ({answer.failure}); {lost}")
    return Presets(tuple(hosts[:_MAX_HOSTS]), tuple(notes))


def _collected(cache: Path, environment: InstalledEnvironment | None, host: HostPlace) -> Collected:
    """Return what the configuration says: remembered, if no file and variable that it came from has changed."""
    path = cache / FILE_NAME
    key = f"{_FORMAT} {environment.digest if environment else ''} {_digest(host.settings)}"
    known = read_cache(path)
    if (remembered := _decoded(known.get(key), host)) is not None:
        return remembered
    if environment is None:
        collected = collect([host])
    else:
        try:
            with open_image(environment.base_image) as files:
                collected = collect([ImagePlace(files, environment.variables), host])
        except OSError as error:
            # Not remembered: what is missing may be there the next time.
            collected = collect([host])
            reason = error.strerror or error
            collected.notes.insert(
                0, f"the image of {environment.name} can't be read ({reason}): only this host counts"
            )
            return collected
    known.pop(key, None)
    known[key] = {
        "seen": host.seen,
        "hosts": [astuple(found) for found in collected.hosts],
        "notes": collected.notes,
        "indexes": [astuple(index) for index in collected.indexes],
    }
    write_cache(path, dict(list(known.items())[-_MAX_REMEMBERED:]))
    return collected


def _decoded(entry: object, host: HostPlace) -> Collected | None:
    try:
        found = cast("Mapping[str, object]", entry)
        seen = cast("Mapping[str, str]", found["seen"])
        collected = Collected(
            [PresetHost(*each) for each in cast("list[list[str]]", found["hosts"])],
            [str(each) for each in cast("list[object]", found["notes"])],
            [Index(*each) for each in cast("list[list[str]]", found["indexes"])],
        )
        return collected if all(host.stamp(path) == stamp for path, stamp in seen.items()) else None
    except (KeyError, TypeError, ValueError, AttributeError):
        # There is no entry, or another program wrote it.
        return None


def _digest(settings: list[tuple[str, str]]) -> str:
    """Return a digest of the variables, so that no value of theirs is kept."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
