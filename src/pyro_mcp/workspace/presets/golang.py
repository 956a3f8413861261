"""Go: its proxies, its checksum database, the private modules, and the hosts of version control that it knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import Place, matching, text_of

_NAMES = ("GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY")
# Before Go 1.21, which has go.env, the defaults were in its source (cmd/go/internal/cfg/cfg.go).
_IN_SOURCE = re.compile(r"""\b(GOPROXY|GOSUMDB)\b[^"\n]*"(?:GOPROXY|GOSUMDB)"\s*,\s*"([^"]+)\"""")
# cmd/go/internal/vcs/vcs.go: an entry names another system of version control, or git, or leaves it to the server.
_PREFIX = re.compile(r"""\bpathPrefix:\s*"([a-z0-9.-]+)[^{}]*?(?:\bvcs:\s*"(\w+)"|\})""")
_REQUIRED = re.compile(r"^\s*(?:require\s+)?(\S+\.\S+/\S+)\s+(v\S+)", re.M)
_ROOTS = ("", "go", "lib/go", "lib/go-*", "share/go-*", "share/go")


def read_go(place: Place) -> Reading:
    """Return the proxies, the checksum database and the hosts of private modules."""
    settings, private = go_settings(place)
    # Another proxy replaces Go's own, and the checksum database stays.
    reading = Reading(replaces="GOPROXY" in settings and not settings["GOPROXY"][2])
    for name, (value, where, is_default) in settings.items():
        is_proxy = name == "GOPROXY"
        found = [Named(address, where, is_proxy) for address in (_proxies(value) if is_proxy else _databases(value))]
        (reading.defaults if is_default and not reading.replaces else reading.configured).extend(found)
    for value, where in private:
        reading.configured += [Named(f"https://{host}/", where, is_index=False) for host in private_hosts(value)]
    return reading


def read_go_git(place: Place) -> list[Named]:
    """Return the hosts that Go knows as those of repositories, if modules may be fetched from there."""
    settings, _ = go_settings(place)
    proxy = settings.get("GOPROXY")
    if proxy is not None and "direct" not in re.split(r"[,|]", proxy[0]):
        return []
    for root in go_roots(place):
        path = f"{root}/src/cmd/go/internal/vcs/vcs.go"
        if found := _PREFIX.findall(text_of(place, path) or ""):
            return [Named(f"https://{host}/", path, is_index=False) for host, system in found if system in {"", "git"}]
    return []


def go_settings(place: Place) -> tuple[dict[str, tuple[str, str, bool]], list[tuple[str, str]]]:
    """Return GOPROXY and GOSUMDB: value, where it stands, and whether that is Go's own file; and private patterns."""
    settings: dict[str, tuple[str, str, bool]] = {}
    private: list[tuple[str, str]] = []

    def note(name: str, value: str, where: str, *, is_default: bool) -> None:
        if name in {"GOPROXY", "GOSUMDB"} and value:
            settings[name] = (value, where, is_default)
        elif name in _NAMES and value:
            private.append((value, where))

    for root in go_roots(place):
        env, source = f"{root}/go.env", f"{root}/src/cmd/go/internal/cfg/cfg.go"
        found = list(in_go_env(text_of(place, env) or "")) or _IN_SOURCE.findall(text_of(place, source) or "")
        for name, value in found:
            note(name, value, env if text_of(place, env) else source, is_default=True)
        if found:
            break
    for path in _files(place):
        for name, value in in_go_env(text_of(place, path) or ""):
            note(name, value, path, is_default=False)
    for name in _NAMES:
        note(name, place.variables.get(name, ""), name, is_default=False)
    return settings, private


def go_module(place: Place) -> tuple[str, str] | None:
    """Return the name and version of a module that Go's own library needs, to ask a proxy for."""
    for root in go_roots(place):
        found = _REQUIRED.findall(text_of(place, f"{root}/src/go.mod") or "")
        if found:
            # The last is the one with a plain version, in all releases so far; any will do.
            return min(found, key=lambda module: len(module[1]))
    return None


def go_roots(place: Place) -> list[str]:
    """Return where a Go distribution may be."""
    roots = [place.variables.get("GOROOT", ""), "/usr/local/go"]
    for prefix in place.prefixes("go"):
        for name in _ROOTS:
            roots += matching(place, f"{prefix}/{name}".rstrip("/"))
    return [root for root in dict.fromkeys(roots) if root]


def _files(place: Place) -> list[str]:
    variables = place.variables
    if (named := variables.get("GOENV", "")) and named != "off":
        return [named]
    return [f"{variables.get('XDG_CONFIG_HOME') or f'{home}/.config'}/go/env" for home in place.homes]


def in_go_env(text: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a go.env."""
    for line in text.splitlines():
        name, found, value = line.partition("=")
        if found and name.strip() in _NAMES:
            yield name.strip(), value.strip()


def _proxies(value: str) -> list[str]:
    return [word.strip() for word in re.split(r"[,|]", value) if "://" in word]


def _databases(value: str) -> list[str]:
    """Return the address of a checksum database: `NAME[+KEY] [ADDRESS]`, or `off`."""
    words = value.split()
    if not words or words[0] == "off":
        return []
    return [words[1] if len(words) > 1 else f"https://{words[0].partition('+')[0]}/"]


def private_hosts(value: str) -> list[str]:
    """Return the hosts in a list of patterns such as `*.corp.example.org,git.example.org/team`."""
    hosts = (pattern.strip().partition("/")[0] for pattern in value.split(","))
    return [host for host in hosts if "." in host and not set("*?[") & set(host.removeprefix("*."))]
