"""The catalog: which environments there are, and the recipe of each."""

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
# To be raised when the same recipe is to be built differently.
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


# What `kind` in the catalog tells apart; another source of environments is another class here.
Recipe = DebianRecipe


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """One environment of the catalog: what it is, how it is made, what its commands find set."""

    name: str
    description: str
    recipe: Recipe
    variables: dict[str, str]

    @property
    def label(self) -> str:
        """Return the name as it stands in file names."""
        return label_of(self.name)

    @property
    def digest(self) -> str:
        """Return what tells this recipe, and this way to build it, from any other."""
        return digest_of(json.dumps([_BUILD, self.to_json()], sort_keys=True).encode())

    def to_json(self) -> dict[str, object]:
        """Return the recipe as it is recorded with what was built from it."""
        return {"kind": "mmdebstrap", **asdict(self.recipe), "variables": dict(self.variables)}


@dataclass(frozen=True, slots=True)
class Catalog:
    """All environments of one version of the catalog, in the order in which they are shown."""

    version: str
    environments: tuple[EnvironmentRecipe, ...]

    def find(self, name: str) -> EnvironmentRecipe:
        """Return the environment `name`.

        Raises:
            PyroError: INVALID for what can't be a name, NOT_FOUND for a name that the catalog does not have.
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
    """Return the catalog that the package carries."""
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
