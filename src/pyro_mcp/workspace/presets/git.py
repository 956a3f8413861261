"""git: the hosts in its configuration, and those of a checkout's remotes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pyro_mcp.host.files import closing_fd
from pyro_mcp.workspace.presets.addresses import host_of
from pyro_mcp.workspace.presets.findings import Named
from pyro_mcp.workspace.presets.places import MAX_FILE_BYTES, Place, text_of

_SECTION = re.compile(r"""\s*\[\s*([A-Za-z0-9.-]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\]""")
# Sections whose name is an address: what stands there replaces others, or needs a login or a proxy.
_ADDRESSED = {"url", "http", "credential"}
_MAX_INCLUDES = 16
_MAX_POINTER_BYTES = 8192


def read_git(place: Place) -> list[Named]:
    """Return the addresses in the configuration of the system and of the user."""
    files = ["/etc/gitconfig"]
    if named := place.variables.get("GIT_CONFIG_GLOBAL"):
        files.append(named)
    for home in place.homes:
        files += [f"{place.variables.get('XDG_CONFIG_HOME') or f'{home}/.config'}/git/config", f"{home}/.gitconfig"]
    found: list[Named] = []
    for path in files:
        if len(files) > _MAX_INCLUDES:
            break
        for section, subsection, key, value in in_git_config(text_of(place, path) or ""):
            if section in {"include", "includeif"} and key == "path":
                # A condition makes it apply to some repositories: its hosts count for all.
                included = _resolved(value, path, place.homes)
                if included and included not in files:
                    files.append(included)
            elif section in _ADDRESSED and host_of(subsection):
                found.append(Named(subsection, path))
            elif section == "remote" and key in {"url", "pushurl"}:
                found.append(Named(value, path))
    return list(dict.fromkeys(found))


def in_git_config(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield section, subsection, key and value of each setting (git-config(1))."""
    section = subsection = ""
    for line in text.replace("\\\n", "").splitlines():
        heading = _SECTION.match(line)
        if heading is not None:
            section, subsection = heading.group(1).lower(), re.sub(r"\\(.)", r"\1", heading.group(2) or "")
        key, _, value = line[heading.end() if heading else 0 :].partition("=")
        if key.strip() and not key.lstrip().startswith(("#", ";")):
            yield section, subsection, key.strip().lower(), _unquoted(value)


def _unquoted(value: str) -> str:
    value = value.strip()
    if value.startswith('"'):
        return value[1:].partition('"')[0]
    return re.split(r"\s[#;]", value)[0].strip()


def _resolved(value: str, path: str, homes: list[str]) -> str:
    if value.startswith("~/"):
        return f"{homes[0]}{value[1:]}" if homes else ""
    return value if os.path.isabs(value) else os.path.normpath(os.path.join(os.path.dirname(path), value))


def remote_hosts(checkout: Path) -> tuple[str, ...]:
    """Return the hosts of a checkout's remotes and submodules, `name` or `name:port`.

    The checkout is any directory in a work tree. Its files are read, no program is run, and nothing is written.
    """
    found: list[str] = []
    for directory in (checkout, *checkout.parents):
        if os.path.lexists(directory / ".git"):
            config = _config_of(directory / ".git")
            for path in (config, directory / ".gitmodules"):
                for section, _, key, value in in_git_config(_text(path) if path else ""):
                    if section in {"remote", "submodule"} and key in {"url", "pushurl"}:
                        found.append(host_of(value))
            break
    return tuple(host for host in dict.fromkeys(found) if host)


def _config_of(git: Path) -> Path | None:
    """Return a repository's configuration; a linked work tree uses that of the main one."""
    if git.is_dir():
        return git / "config"
    pointer = _text(git)[:_MAX_POINTER_BYTES]
    if not pointer.startswith("gitdir:"):
        return None
    directory = git.parent / pointer.removeprefix("gitdir:").strip()
    common = _text(directory / "commondir").strip()
    return (directory / common if common else directory) / "config"


def _text(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ""
    with closing_fd(fd):
        try:
            return os.pread(fd, MAX_FILE_BYTES, 0).decode("utf-8", "replace")
        except OSError:
            return ""
