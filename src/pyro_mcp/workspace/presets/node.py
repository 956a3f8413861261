"""npm, pnpm and yarn: their registries, and the git hosts whose short names npm knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import Place, text_of

_HOMES = ("lib/node_modules/npm", "share/nodejs/npm", "share/npm", "")
# npm's own settings: `registry: new Definition('registry', { default: '…'`, in older versions `registry: '…'`.
_DEFINITIONS = (
    "node_modules/@npmcli/config/lib/definitions/definitions.js",
    "../@npmcli/config/lib/definitions/definitions.js",
    "lib/utils/config/definitions.js",
    "lib/config/defaults.js",
)
_DEFAULT = re.compile(r"""\bregistry\b['"]?\s*[:,][^:]{0,60}?(?:default:\s*)?['"`](https?://[^'"`\s]+)['"`]""")
_HOSTS = ("node_modules/hosted-git-info/lib/hosts.js", "../hosted-git-info/lib/hosts.js")
_DOMAIN = re.compile(r"""\bdomain:\s*['"]([a-z0-9.-]+)['"]""")
_TARBALLS = re.compile(r"https://(?:\$\{maybeJoin\([^)]*\)\})?([a-z][a-z0-9.-]*\.)\$\{domain\}")
_KEY = re.compile(r"(@[^:\s]+:)?registry")
_VARIABLE = re.compile(r"\$\{([^}?]+)\??\}")
_YARN = re.compile(r"""^\s*["']?(?:registry|npmRegistryServer)["']?\s*:?\s+["']?(https?://[^"'\s]+)""", re.M)


def read_node(place: Place) -> Reading:
    """Return the registries, those of scopes included."""
    reading = Reading()
    installed = _installed(place)
    for directory in installed:
        if address := _find(place, directory, _DEFINITIONS, _DEFAULT):
            reading.defaults = [address]
            break
    for path in _files(place, installed):
        for key, value in in_npmrc(text_of(place, path) or "", place.variable):
            reading.configure(value, path, replaces=not key.startswith("@"))
    for name, value in place.variables.items():
        if name.lower().startswith("npm_config_") and _KEY.fullmatch(key := name[len("npm_config_") :].lower()):
            reading.configure(value, name, replaces=not key.startswith("@"))
        elif name in {"YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER"}:
            reading.configure(value, name)
    for home in place.homes:
        for path in (f"{home}/.yarnrc", f"{home}/.yarnrc.yml"):
            for address in _YARN.findall(text_of(place, path) or ""):
                reading.configure(address, path)
    return reading


def read_node_git(place: Place) -> list[Named]:
    """Return the git hosts that `npm install OWNER/NAME` and its relatives use."""
    for directory in _installed(place):
        for name in _HOSTS:
            path = f"{directory}/{name}"
            if text := text_of(place, path):
                # `codeload.${domain}` belongs to the domain before it.
                found: list[Named] = []
                domain = ""
                for line in text.splitlines():
                    if named := _DOMAIN.search(line):
                        domain = named.group(1)
                        found.append(Named(f"https://{domain}/", path))
                    elif domain and (files := _TARBALLS.search(line)):
                        found.append(Named(f"https://{files.group(1)}{domain}/", path))
                return found
    return []


def _installed(place: Place) -> list[str]:
    prefixes = place.prefixes("npm")
    return [f"{prefix}/{home}".rstrip("/") for prefix in prefixes for home in _HOMES]


def _find(place: Place, directory: str, names: tuple[str, ...], pattern: re.Pattern[str]) -> Named | None:
    for name in names:
        path = f"{directory}/{name}"
        if found := pattern.search(text_of(place, path) or ""):
            return Named(found.group(1), path)
    return None


def _files(place: Place, installed: list[str]) -> list[str]:
    files = [f"{directory}/npmrc" for directory in installed]
    files += [f"{prefix}/etc/npmrc" for prefix in place.prefixes("npm")]
    files += ["/etc/npmrc", *(f"{home}/.npmrc" for home in place.homes)]
    files += [
        value
        for name, value in place.variables.items()
        if name.lower() in {"npm_config_userconfig", "npm_config_globalconfig"}
    ]
    return list(dict.fromkeys(files))


def in_npmrc(text: str, variable: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield the keys `registry` and `@SCOPE:registry` of an npmrc, and their addresses."""
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if found and _KEY.fullmatch(key.strip()):
            value = value.strip().strip("\"'")
            yield key.strip(), _VARIABLE.sub(lambda match: variable(match.group(1)), value)
