"""Decide whether a git configuration file can make git run programs, and extract harmless settings for a guest.

Only settings in a list count as harmless. Unknown settings, sections and lines do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_BYTES = 64 * 1024

_SECTION = re.compile(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\\n]|\\["\\])*)")?\s*\]\s*(.*)')
_SETTING = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?")
# Named sections, such as [remote "origin"], are `remote.*`.
_HARMLESS = {
    "core": {
        "repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase", "precomposeunicode",
        "symlinks", "autocrlf", "eol", "safecrlf", "abbrev", "untrackedcache", "preloadindex", "compression",
        "protecthfs", "protectntfs", "quotepath", "sharedrepository", "whitespace", "sparsecheckout",
        "sparsecheckoutcone",
    },
    "user": {"name", "email"},
    "author": {"name", "email"},
    "committer": {"name", "email"},
    "init": {"defaultbranch"},
    "pull": {"rebase", "ff"},
    "push": {"default", "autosetupremote", "followtags"},
    "fetch": {"prune", "prunetags"},
    "merge": {"ff", "conflictstyle", "renames", "stat"},
    "rebase": {"autosquash", "autostash"},
    "rerere": {"enabled", "autoupdate"},
    "color": {"ui"},
    "extensions": {"objectformat", "partialclone", "refstorage"},
    "gc": {"auto", "autodetach"},
    "index": {"version"},
    "feature": {"manyfiles"},
    "advice": {"detachedhead"},
    "remote.*": {"url", "pushurl", "fetch", "push", "tagopt", "prune", "promisor", "partialclonefilter"},
    "branch.*": {"remote", "merge", "rebase", "pushremote", "description", "vscode-merge-base"},
    "submodule": {"active"},
    "submodule.*": {"url", "active"},
    "lfs": {"repositoryformatversion"},
}  # fmt: skip
# Any other transport is a program (git-remote-NAME), and `ext::` runs any program.
_HARMLESS_URL = re.compile(r"(?:https?|ssh|git|file)://[^-].*|[A-Za-z0-9_][A-Za-z0-9_.@-]*:(?!:|//).*|[./][^:]*")
_URLS = {"url", "pushurl"}
# Harmless settings that identify the host's user, or concern the host's file system.
_PERSONAL = {"user", "author", "committer"}
_OF_THE_HOST = {("core", "bare"), ("core", "sharedrepository"), ("core", "untrackedcache")}
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f]*')
_USER_OF_URL = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?(?:([^@/]*)@)?(.*)", re.IGNORECASE)


def may_run_programs(data: bytes) -> bool:
    """Return whether git may run a program because of this configuration."""
    if len(data) > MAX_BYTES or b"\0" in data:
        return True
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        return True
    section = ""
    for raw in re.split(r"\r?\n", text):
        line = raw.strip()
        if line.startswith("["):
            found = _SECTION.fullmatch(line)
            if found is None:
                return True
            section = found[1].lower() + (".*" if found[2] is not None else "")
            line = found[3].strip()
        if not line or line[0] in "#;":
            continue
        if not _is_harmless(section, line):
            return True
    return False


def _is_harmless(section: str, line: str) -> bool:
    # Backslashes can join lines or hide text, and no harmless setting needs one.
    found = _SETTING.fullmatch(line)
    if found is None or "\\" in line:
        return False
    key, value = found[1].lower(), (found[2] or "").strip().strip('"')
    if key not in _HARMLESS.get(section, ()):
        return False
    return key not in _URLS or _HARMLESS_URL.fullmatch(value) is not None


def kept_settings(settings: Iterable[tuple[str, str]]) -> str:
    """Return a configuration with the harmless ones of these settings (key, value), without user names and passwords.

    Keys are as listed by git, such as `remote.origin.url`. For the result, `may_run_programs` is False.
    """
    lines = ["[core]", "\tbare = false"]
    for key, value in settings:
        section, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        kind = f"{section}.*" if name else section
        if section in _PERSONAL or (kind, last) in _OF_THE_HOST or last not in _HARMLESS.get(kind, ()):
            continue
        shown = without_user(value) if last in _URLS else value
        if not _PLAIN.fullmatch(name + shown) or (last in _URLS and not _HARMLESS_URL.fullmatch(shown)):
            continue
        lines += [f'[{section} "{name}"]' if name else f"[{section}]", f'\t{last} = "{shown}"']
    return "\n".join(lines) + "\n"


def without_user(url: str) -> str:
    """Return a remote's URL without user, password and query. The user `git` is kept, since it identifies nobody."""
    found = _USER_OF_URL.fullmatch(url)
    if found is None:
        return ""
    scheme, user, rest = found.groups()
    if scheme:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    return (f"{scheme}://" if scheme else "") + ("git@" if user == "git" else "") + rest
