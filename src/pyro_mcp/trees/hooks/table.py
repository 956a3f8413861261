"""Table of the files that a host tool runs automatically, or that make it run something.

Files match by name, not by content, except for a few common and usually harmless files, such as git's configuration.
Files that a user runs explicitly (a Makefile, a test, a script), or has set up to run for this project (pre-commit),
are not in the table. Files with instructions for agents are: they are exported and reported.

Names are compared case-insensitively, like on some file systems. A symbolic link in place of a directory matches like
anything that may be behind it. The table consists of names rather than patterns because it is consulted for every file
of every tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pyro_mcp.trees.entries import Kind
from pyro_mcp.trees.hooks.git_config import MAX_BYTES, may_run_programs


@dataclass(frozen=True, slots=True)
class Rule:
    """The tool that would run a file."""

    tool: str
    # Decides by the content, if the name alone is not sufficient.
    judges: Callable[[bytes], bool] | None = None
    # Only read by an agent, which has its own checks before it runs anything: exported and reported.
    is_instruction: bool = False


def _mentions(*words: bytes) -> Callable[[bytes], bool]:
    """Return a `judges` function for settings that matter only if they contain one of `words`."""
    return lambda data: len(data) > MAX_BYTES or any(word in data for word in words)


_GIT = Rule("git")
_GIT_CONFIG = Rule("git", may_run_programs)
_HG, _JJ, _MISE = Rule("Mercurial"), Rule("Jujutsu"), Rule("mise")
_CODE, _CONTAINERS = Rule("Visual Studio Code"), Rule("development containers")
_VIM, _DEBUGGER, _AGENT = Rule("Vim"), Rule("a debugger"), Rule("another agent")
_SUBLIME, _JUPYTER = Rule("Sublime Text"), Rule("Jupyter")
_R, _RUBY, _YARN, _PNPM = Rule("R"), Rule("Ruby's consoles"), Rule("Yarn"), Rule("pnpm")
_LINKED = Rule("what is behind the link")
_INSTRUCTIONS = Rule("an agent, as instructions", is_instruction=True)

# File names, in any directory. Some tools look only at the top of a project, but that may be any directory.
_NAMES = {
    b".envrc": Rule("direnv"),
    b".devcontainer.json": _CONTAINERS,
    b".dir-locals.el": Rule("Emacs"),
    b".dir-locals-2.el": Rule("Emacs"),
    b".mcp.json": Rule("Claude Code"),
    b"opencode.json": Rule("OpenCode"),
    b"opencode.jsonc": Rule("OpenCode"),
    b"crush.json": _AGENT,
    b".crush.json": _AGENT,
    b".aider.conf.yml": _AGENT,
    b".aider.conf.yaml": _AGENT,
    b".gdbinit": _DEBUGGER,
    b".lldbinit": _DEBUGGER,
    b".pdbrc": _DEBUGGER,
    b".perldb": _DEBUGGER,
    **dict.fromkeys((b".rdbgrc", b".byebugrc"), _DEBUGGER),
    **dict.fromkeys((b".exrc", b".vimrc", b".nvimrc", b".nvim.lua", b".lvimrc", b".gvimrc"), _VIM),
    **dict.fromkeys((b"_exrc", b"_vimrc", b"_gvimrc", b".lazy.lua", b".ycm_extra_conf.py", b".vimspector.json"), _VIM),
    **dict.fromkeys((b".neoconf.json", b".nlsp.json"), _VIM),
    **dict.fromkeys((b".luarc.json", b".luarc.jsonc"), Rule("lua-language-server")),
    b"hie.yaml": Rule("haskell-language-server"),
    **dict.fromkeys((b".kateproject", b".kateproject.local"), Rule("Kate")),
    # Interpreters that read a file in their working directory.
    **dict.fromkeys((b".rprofile", b".renviron", b".rdata"), _R),
    b".octaverc": Rule("Octave"),
    b"startup.m": Rule("Octave and MATLAB"),
    b".ghci": Rule("GHCi"),
    b".ocamlinit": Rule("OCaml"),
    **dict.fromkeys((b".irbrc", b"irbrc", b"_irbrc", b"$irbrc", b"irb.rc", b".pryrc"), _RUBY),
    b".iex.exs": Rule("Elixir"),
    b".erlang": Rule("Erlang"),
    b".psysh.php": Rule("PsySH"),
    # Package managers and build tools whose settings can name programs.
    b".npmrc": Rule("npm"),
    **dict.fromkeys((b".yarnrc", b".yarnrc.yml", b".pnp.cjs", b".pnp.js", b".pnp.loader.mjs"), _YARN),
    **dict.fromkeys((b".pnpmfile.cjs", b".pnpmfile.mjs", b".pnpmfile.js", b"pnpmfile.js"), _PNPM),
    b"pnpm-workspace.yaml": Rule(
        "pnpm", _mentions(b"pnpmfile", b"scriptShell", b"configDependencies", b"nodeOptions", b"dangerously")
    ),
    **dict.fromkeys((b"bunfig.toml", b".bunfig.toml"), Rule("Bun")),
    **dict.fromkeys((b"rust-toolchain", b"rust-toolchain.toml"), Rule("rustup", _mentions(b"path"))),
    **dict.fromkeys((b".bazelrc", b".bazeliskrc", b"user.bazelrc"), Rule("Bazel")),
    **dict.fromkeys((b".sbtopts", b".jvmopts", b".sbtrc"), Rule("sbt")),
    b".arcconfig": Rule("Arcanist"),
    # Instructions.
    **dict.fromkeys(
        (b"claude.md", b"claude.local.md", b"agents.md", b"agents.override.md", b"agent.md"), _INSTRUCTIONS
    ),
    **dict.fromkeys((b"gemini.md", b"qwen.md", b"crush.md", b"warp.md", b"codex.md"), _INSTRUCTIONS),
    **dict.fromkeys((b".cursorrules", b".windsurfrules", b".clinerules", b".roorules", b".rules"), _INSTRUCTIONS),
    **dict.fromkeys((b".goosehints", b".augment-guidelines", b"copilot-instructions.md"), _INSTRUCTIONS),
}
# Everything below directories with these names.
_TREES = {
    b".husky": Rule("husky"),
    b".idea": Rule("JetBrains"),
    b".fleet": Rule("JetBrains"),
    b".zed": Rule("Zed"),
    b".helix": Rule("Helix"),
    b".nova": Rule("Nova"),
    b".vs": Rule("Visual Studio"),
    b".lapce": Rule("Lapce"),
    b".theia": Rule("Theia"),
    b".idx": Rule("Firebase Studio"),
    **dict.fromkeys((b".vim", b".nvim", b".nlsp-settings"), _VIM),
    **dict.fromkeys((b".settings", b".externaltoolbuilders"), Rule("Eclipse")),
    # Editors start the build servers described there.
    b".bsp": Rule("an editor's build server"),
    b".yarn": _YARN,
    b".mvn": Rule("Maven"),
    b".claude": Rule("Claude Code"),
    b".codex": Rule("Codex"),
    b".cursor": Rule("Cursor"),
    b".opencode": Rule("OpenCode"),
    b".gemini": Rule("Gemini CLI"),
    b".windsurf": Rule("Windsurf"),
    **dict.fromkeys((b".continue", b".roo", b".kilocode", b".kiro", b".amazonq"), _AGENT),
    **dict.fromkeys((b".qwen", b".junie", b".factory", b".crush", b".goose"), _AGENT),
    **dict.fromkeys((b".trae", b".void", b".augment", b".openhands", b".clinerules", b".cline", b".agents"), _AGENT),
}
# Directories of agents' settings that contain only text to be read.
# Claude Code's own checkouts: each is a project like any other.
_WORKTREES = (b".claude", b"worktrees")
_READ_BELOW = {b"rules", b"steering"}
_READ_NAMES = {b"claude.md", b"agents.md", b"gemini.md", b"guidelines.md"}
_READ_ENDINGS = (b".md", b".mdc", b".txt")
# File names below directories with these names, at any depth.
_BELOW = {
    b".vscode": (
        _CODE,
        {b"tasks.json", b"settings.json", b"launch.json", b"mcp.json", b"c_cpp_properties.json", b"cmake-kits.json"},
    ),
    b".devcontainer": (_CONTAINERS, {b"devcontainer.json"}),
    b".hg": (_HG, {b"hgrc", b"hgrc-not-shared", b"sharedpath"}),
    b".sl": (_HG, {b"config"}),
    b".jj": (_JJ, {b"repo", b"config.toml", b"config-managed.toml"}),
    b".pijul": (Rule("Pijul"), {b"config"}),
    b".cargo": (Rule("Cargo"), {b"config", b"config.toml"}),
}
_GIT_NAMES = {b"commondir", b"git-rebase-todo", b"git-rebase-todo.backup"}
_GIT_CONFIGS = {b"config", b"config.worktree"}
# Below these, git uses names chosen by users, and runs nothing.
_GIT_PLAIN = {b"objects", b"refs", b"logs"}
# Links with these names: a tool looks for files of the table behind them.
_LINKS = {b".git", *_BELOW, b".config", b".mise", b"mise"}
_DIRECTORIES = frozenset({b".git", *_TREES, *_BELOW, b".mise", b"mise"})
_JUPYTER_CONFIG = re.compile(rb"(?:jupyter_\w+|ipython)_config\.(?:py|json)")
_BAZEL = re.compile(rb"bazel(?:\..+)?")


def rule_for(path: bytes, kind: Kind) -> Rule | None:
    """Return the rule that an entry matches, or None. For a rule that `judges`, the content decides."""
    if kind is Kind.DIRECTORY:
        return None
    parts = path.lower().split(b"/")
    name = parts[-1]
    rule = _NAMES.get(name) or _by_ending(name)
    if (rule is None or rule.is_instruction) and not _DIRECTORIES.isdisjoint(parts):
        # A file in an agent's settings is not harmless just because it is named README or AGENTS.
        below = (_below(part, parts[at + 1 :], kind) for at, part in enumerate(parts))
        rule = next((found for found in below if found is not None), rule)
    if rule is None and len(parts) > 1:
        rule = _by_parent(parts[-2], name)
    if rule is None and kind is Kind.SYMLINK and name in _LINKS:
        return _LINKED
    # The target of a link is unknown.
    return _LINKED if rule is not None and rule.judges is not None and kind is Kind.SYMLINK else rule


def _by_ending(name: bytes) -> Rule | None:
    if name.endswith(b".code-workspace"):
        return _CODE
    if name.endswith(b".toml") and name.startswith((b"mise.", b".mise.", b"rtx.", b".rtx.")):
        return _MISE
    if name.endswith((b".sublime-project", b".sublime-workspace")):
        return _SUBLIME
    if name.endswith(b".instructions.md"):
        return _INSTRUCTIONS
    if b"_config." in name and _JUPYTER_CONFIG.fullmatch(name):
        return _JUPYTER
    return Rule("autoenv") if name.startswith(b".autoenv") else None


def _by_parent(parent: bytes, name: bytes) -> Rule | None:
    """Return the rule for a file that matches because of its parent directory."""
    if parent == b"tools" and _BAZEL.fullmatch(name):
        return Rule("Bazel")
    if parent == b"renv" and name == b"activate.r":
        return _R
    return None


def _below(part: bytes, rest: list[bytes], kind: Kind) -> Rule | None:
    """Return the rule for the path `rest` below a directory named `part`, or for something in place of it."""
    if part in _TREES:
        if (part, *rest[:1]) == _WORKTREES and len(rest) > 1:
            return None
        return _INSTRUCTIONS if kind is Kind.FILE and _is_read(part, rest) else _TREES[part]
    if part == b".git":
        return _in_git(rest, kind)
    if part in _BELOW:
        rule, names = _BELOW[part]
        if rest and rest[-1] in names:
            return rule
        # The link may be in place of any of the directories.
        return _LINKED if kind is Kind.SYMLINK else None
    if part in {b".mise", b"mise"} and rest and rest[-1].endswith(b".toml"):
        return _MISE
    return None


def _is_read(part: bytes, rest: list[bytes]) -> bool:
    """Return whether the path `rest` below an agent's settings is only read by the agent."""
    if part == b".clinerules":
        # It may be a file, too.
        return not rest or (len(rest) == 1 and rest[0].endswith(_READ_ENDINGS))
    if len(rest) == 1:
        return rest[0] in _READ_NAMES
    return bool(rest) and rest[0] in _READ_BELOW and rest[-1].endswith(_READ_ENDINGS)


def _in_git(rest: list[bytes], kind: Kind) -> Rule | None:
    if not rest:
        # A file named .git contains the path of the repository, whose configuration git reads.
        return _LINKED if kind is Kind.SYMLINK else _GIT
    if kind is Kind.SYMLINK:
        return _LINKED
    return None if rest[0] in _GIT_PLAIN else _in_repository(rest)


def _in_repository(rest: list[bytes]) -> Rule | None:
    name = rest[-1]
    if name in _GIT_NAMES or name == b"hooks":
        return _GIT
    if b"hooks" in rest[:-1] and not name.endswith(b".sample"):
        return _GIT
    return _GIT_CONFIG if name in _GIT_CONFIGS else None


def rule_in_repository(name: bytes) -> Rule | None:
    """Return the rule for a name relative to a directory that git recognizes as a repository, whatever its name."""
    rest = name.lower().split(b"/")
    return _in_repository(rest) if len(rest) == 1 or rest[0] == b"hooks" else None


def may_be_in_repository(path: bytes) -> bool:
    """Return whether a name would match a rule if its directory were a repository."""
    parts = path.lower().split(b"/")
    return b"hooks" in parts or parts[-1] in _GIT_CONFIGS or parts[-1] in _GIT_NAMES


def may_lead_to_hooks(directory: bytes) -> bool:
    """Return whether names below a directory may match the table because of the directory's own name."""
    return not _DIRECTORIES.isdisjoint(directory.lower().split(b"/"))


class Repositories:
    """Finds the directories that git recognizes as repositories by their contents; fed with every entry of a tree."""

    def __init__(self) -> None:
        self._marks: dict[bytes, int] = {}

    def see(self, path: bytes) -> int:
        """Process an entry; return how many bytes are kept in memory for it."""
        parent, _, name = path.rpartition(b"/")
        mark = _MARKS.get(name.lower())
        if mark is None:
            return 0
        self._marks[parent] = self._marks.get(parent, 0) | mark
        return len(parent) + 100

    def found(self) -> list[bytes]:
        """Return the repositories found, including those named .git."""
        return [path for path, marks in self._marks.items() if marks & 1 and (marks & 6 == 6 or marks & 8)]


# Git requires HEAD, and either both directories or the path of the directory that contains them.
_MARKS = {b"head": 1, b"objects": 2, b"refs": 4, b"commondir": 8}
