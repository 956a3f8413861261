"""Whether a git configuration file can make git run something.

There is a list of harmless settings. An unknown setting, section or line counts as one that can.
"""

from __future__ import annotations

import re

MAX_BYTES = 64 * 1024

_SECTION = re.compile(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\\n]|\\["\\])*)")?\s*\]\s*(.*)')
_SETTING = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?")
# Sections with a name of its own, such as [remote "origin"], are `remote.*`.
_HARMLESS = {
    "core": {
        "repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase", "precomposeunicode",
        "symlinks", "autocrlf", "eol", "safecrlf", "abbrev", "untrackedcache", "preloadindex", "compression",
        "protecthfs", "protectntfs", "quotepath", "sharedrepository", "whitespace",
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
# A transport of another name is a program (git-remote-NAME), and `ext::` is any program.
_HARMLESS_URL = re.compile(r"(?:https?|ssh|git|file)://[^-].*|[A-Za-z0-9_][A-Za-z0-9_.@-]*:(?!:|//).*|[./][^:]*")
_URLS = {"url", "pushurl"}


def may_run_programs(data: bytes) -> bool:
    """Say whether git, reading this configuration, may run something by itself."""
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
    # A backslash at the end joins lines, and inside it may hide anything; none of the harmless settings needs one.
    found = _SETTING.fullmatch(line)
    if found is None or "\\" in line:
        return False
    key, value = found[1].lower(), (found[2] or "").strip().strip('"')
    if key not in _HARMLESS.get(section, ()):
        return False
    return key not in _URLS or _HARMLESS_URL.fullmatch(value) is not None
