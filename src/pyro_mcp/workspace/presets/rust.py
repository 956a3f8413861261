"""cargo: its registries and the sources that replace them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import cast

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import Place, matching, text_of

# Both indexes are texts in cargo's program: the one that it asks file by file, and the one that it clones.
_SPARSE = rb"sparse\+https://[a-z0-9-]+(?:\.[a-z0-9-]+)+/"
_GIT = rb"https://[a-z0-9-]+(?:\.[a-z0-9-]+)+/[a-z0-9-]+/[a-z0-9.-]+-index"
_VARIABLE = re.compile(r"CARGO_(?:REGISTRIES_\w+|REGISTRY)_INDEX")


def read_rust(place: Place) -> Reading:
    """Return the indexes of registries, and the repositories that replace one."""
    reading = Reading(defaults=_default(place))
    for path in _files(place):
        for address, replaces in in_cargo_settings(text_of(place, path) or ""):
            reading.configure(address, path, replaces=replaces)
    for name, value in place.variables.items():
        if _VARIABLE.fullmatch(name):
            reading.configure(value, name)
    return reading


def _files(place: Place) -> list[str]:
    homes = [place.variables.get("CARGO_HOME", ""), *(f"{home}/.cargo" for home in place.homes), "/usr/local/cargo"]
    return [f"{home}/{name}" for home in dict.fromkeys(homes) if home for name in ("config", "config.toml")]


def in_cargo_settings(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the addresses in a config.toml, and whether they replace the default registry."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    for registry in (*_tables(document.get("registries")).values(), _table(document.get("registry"))):
        if isinstance(address := registry.get("index"), str):
            yield address, False
    sources = _tables(document.get("source"))
    replacement = sources.get("crates-io", {}).get("replace-with")
    for name, source in sources.items():
        for key in ("registry", "git"):
            if isinstance(address := source.get(key), str):
                yield address, name == replacement
    if isinstance(replacement, str) and replacement not in sources:
        # The name of a registry stands for its index.
        index = _tables(document.get("registries")).get(replacement, {}).get("index")
        if isinstance(index, str):
            yield index, True


def _table(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _tables(value: object) -> dict[str, dict[str, object]]:
    return {name: _table(each) for name, each in _table(value).items()}


def _default(place: Place) -> list[Named]:
    for path in _programs(place):
        sparse, git = place.search(path, _SPARSE), place.search(path, _GIT)
        found = [address.decode("ascii") for address in dict.fromkeys([*sparse[:1], *git[:1]])]
        if found:
            return [Named(address, path) for address in found]
    return []


def _programs(place: Place) -> list[str]:
    """Return where cargo itself may be: with rustup, the program on PATH only starts another one."""
    toolchains = [
        place.variables.get("RUSTUP_HOME", ""),
        *(f"{home}/.rustup" for home in place.homes),
        "/usr/local/rustup",
    ]
    rustup = [path for home in toolchains if home for path in matching(place, f"{home}/toolchains/*/bin/cargo")]
    return [*rustup[:2], *(f"{prefix}/bin/cargo" for prefix in place.prefixes("cargo"))]
