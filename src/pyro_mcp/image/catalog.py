"""The catalog of environments and their recipes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.integrity import digest_of
from pyro_mcp.image.names import check_name, label_of

_DATA = Path(__file__).with_name("data")
# Increase this when the way to build a recipe changes.
_BUILD = 1


@dataclass(frozen=True, slots=True)
class DebianRecipe:
    """An environment built by mmdebstrap from Debian's packages."""

    suite: str
    variant: str
    packages: tuple[str, ...]
    apt_options: tuple[str, ...]
    dpkg_options: tuple[str, ...]
    hook: str


# The recipes by `kind` in the catalog; each further source of environments would be another class.
Recipe = DebianRecipe


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """One environment of the catalog: its description, recipe and environment variables."""

    name: str
    description: str
    recipe: Recipe
    variables: dict[str, str]

    @property
    def label(self) -> str:
        """Return the name in the form used in file names."""
        return label_of(self.name)

    @property
    def digest(self) -> str:
        """Return a digest that identifies this recipe and the way to build it."""
        return digest_of(json.dumps([_BUILD, self.to_json()], sort_keys=True).encode())

    def to_json(self) -> dict[str, object]:
        """Return the recipe as it is recorded in the manifest of an install."""
        return {"kind": "mmdebstrap", **asdict(self.recipe), "variables": dict(self.variables)}


@dataclass(frozen=True, slots=True)
class Catalog:
    """All environments of one version of the catalog, in display order."""

    version: str
    environments: tuple[EnvironmentRecipe, ...]

    def find(self, name: str) -> EnvironmentRecipe:
        """Return the environment `name`.

        Raises:
            PyroError: INVALID for an invalid name, NOT_FOUND for a name that is not in the catalog.
        """
        check_name(name)
        for environment in self.environments:
            if environment.name == name:
                return environment
        names = [environment.name for environment in self.environments]
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"there is no environment {name}; the catalog has {', '.join(names)}",
            hint=_suggest(name, names),
            details={"environment": name, "available": names},
        )


@cache
def load_catalog() -> Catalog:
    """Return the catalog in the package."""
    document: dict[str, Any] = json.loads((_DATA / "catalog.json").read_bytes())
    hook = (_DATA / "customize.sh").read_text(encoding="utf-8")
    entries = tuple(_entry(each, document, hook) for each in document["environments"])
    return Catalog(document["version"], entries)


def _entry(entry: dict[str, Any], document: dict[str, Any], hook: str) -> EnvironmentRecipe:
    name, recipe = entry["name"], entry["recipe"]
    check_name(name)
    if recipe["kind"] != "mmdebstrap":
        raise PyroError(ErrorCode.UNSUPPORTED, f"{name} has a recipe of the unknown kind {recipe['kind']!r}")
    source = DebianRecipe(
        suite=recipe["suite"],
        variant=recipe["variant"],
        packages=tuple(sorted({package for part in recipe["sets"] for package in document["sets"][part]})),
        apt_options=tuple(document["apt_options"]),
        dpkg_options=tuple(document["dpkg_options"]),
        hook=hook,
    )
    return EnvironmentRecipe(name, entry["description"], source, document["variables"])


def _suggest(name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}?" if close else "`pyro env list` lists the environments."
