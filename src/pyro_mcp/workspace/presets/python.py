"""pip and uv: their indexes and places of wheels."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from configparser import Error, RawConfigParser
from typing import cast

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import Place, matching, text_of

_INDEX_KEYS, _EXTRA_KEYS = {"index-url"}, {"extra-index-url", "find-links"}
# pip's own list of indexes (pip/_internal/models/index.py): the first is the default.
_DEFAULT = re.compile(
    r"""^PyPI\s*=\s*PackageIndex\(\s*["']([^"']+)["'](?:\s*,\s*file_storage_domain=["']([^"']+))?""", re.M
)
_LIBRARIES = (
    "lib/python3/dist-packages",
    "lib/python3*/site-packages",
    "lib/python3*/dist-packages",
    "share/python-wheels",
)
_UV_VARIABLES = {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"}
_INDEX_NAME = re.compile(r"^[\w.-]+=")


def read_python(place: Place) -> Reading:
    """Return the indexes of pip and uv. uv's default is pip's."""
    reading = Reading(defaults=_default(place))
    for path in _pip_files(place):
        for key, value in _pip_settings(text_of(place, path) or ""):
            _add_pip(reading, key, value, path)
    for name, value in place.variables.items():
        if name.startswith("PIP_"):
            _add_pip(reading, name.removeprefix("PIP_").lower().replace("_", "-"), value, name)
        elif name in _UV_VARIABLES:
            for word in value.replace(",", " ").split():
                replaces, is_index = name in {"UV_DEFAULT_INDEX", "UV_INDEX_URL"}, name != "UV_FIND_LINKS"
                # NAME=ADDRESS is accepted, too.
                reading.configure(_INDEX_NAME.sub("", word), name, replaces=replaces, is_index=is_index)
    for path in _uv_files(place):
        for address, replaces in in_uv_settings(text_of(place, path) or ""):
            reading.configure(address, path, replaces=replaces)
    return reading


def _add_pip(reading: Reading, key: str, value: str, where: str) -> None:
    if key in _INDEX_KEYS:
        reading.configure(value, where, replaces=True)
    elif key in _EXTRA_KEYS:
        for word in value.split():
            reading.configure(word, where, is_index=key != "find-links")
    elif key == "no-index" and value.strip().lower() in {"1", "true", "yes", "on"}:
        reading.replaces = True


def _pip_files(place: Place) -> list[str]:
    """Return the files of `pip config debug`, those of the system first."""
    variables = place.variables
    system = [f"{directory}/pip/pip.conf" for directory in variables.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    files = [*system, "/etc/pip.conf"]
    for home in place.homes:
        files += [f"{home}/.pip/pip.conf", f"{variables.get('XDG_CONFIG_HOME') or f'{home}/.config'}/pip/pip.conf"]
    files += [f"{prefix}/pip.conf" for prefix in place.prefixes("python3")]
    if own := variables.get("VIRTUAL_ENV"):
        files.append(f"{own}/pip.conf")
    if named := variables.get("PIP_CONFIG_FILE"):
        files.append(named)
    return list(dict.fromkeys(files))


def _pip_settings(text: str) -> Iterator[tuple[str, str]]:
    parser = RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except (Error, ValueError):
        return
    for section in parser.sections():
        for key, value in parser.items(section):
            yield key.replace("_", "-"), value or ""


def _uv_files(place: Place) -> list[str]:
    files = ["/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml"]
    files += [f"{place.variables.get('XDG_CONFIG_HOME') or f'{home}/.config'}/uv/uv.toml" for home in place.homes]
    if named := place.variables.get("UV_CONFIG_FILE"):
        files.append(named)
    return list(dict.fromkeys(files))


def in_uv_settings(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the addresses in a uv.toml, and whether they replace the default index."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    tables: list[dict[str, object]] = [document]
    if isinstance(pip := document.get("pip"), dict):
        tables.append(cast("dict[str, object]", pip))
    for table in tables:
        if isinstance(address := table.get("index-url"), str):
            yield address, True
        for key in ("extra-index-url", "find-links"):
            if isinstance(listed := table.get(key), list):
                yield from ((each, False) for each in cast("list[object]", listed) if isinstance(each, str))
        if isinstance(indexes := table.get("index"), list):
            for index in cast("list[object]", indexes):
                if isinstance(index, dict):
                    found = cast("dict[str, object]", index)
                    if isinstance(address := found.get("url"), str):
                        yield address, found.get("default") is True


def _default(place: Place) -> list[Named]:
    for prefix in place.prefixes("pip3"):
        for library in _LIBRARIES:
            for path in matching(place, f"{prefix}/{library}/pip/_internal/models/index.py"):
                if found := _DEFAULT.search(text_of(place, path) or ""):
                    index, files = found.groups()
                    named = [Named(f"{index.rstrip('/')}/simple/", path)]
                    return [*named, Named(f"https://{files}/", path, is_index=False)] if files else named
    return []
