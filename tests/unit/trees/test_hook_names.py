"""Which files a tool of the host would run by itself, by their names."""

from __future__ import annotations

import pytest

from pyro_mcp.trees.entries import Kind
from pyro_mcp.trees.hooks.table import rule_for

HOOKS = [
    b".git",
    b"sub/.git",
    b".git/hooks/pre-commit",
    b".git/hooks/dir/x",
    b".git/hooks",
    b".git/modules/lib/hooks/post-checkout",
    b".git/worktrees/w/config.worktree",
    b".git/config",
    b".git/modules/a/b/config",
    b".git/commondir",
    b".git/rebase-merge/git-rebase-todo",
    b".GIT/Hooks/Pre-Commit",
    b"a/b/.git/hooks/x\ny",
    b".hg/hgrc",
    b".jj/repo/config.toml",
    b".envrc",
    b"deep/er/.envrc",
    b".mise.toml",
    b"mise.local.toml",
    b".config/mise/config.toml",
    b".husky/pre-commit",
    b".husky/_/husky.sh",
    b".vscode/tasks.json",
    b".vscode/settings.json",
    b"project.code-workspace",
    b".devcontainer.json",
    b".devcontainer/python/devcontainer.json",
    b".idea/workspace.xml",
    b".zed/tasks.json",
    b".nvim.lua",
    b".exrc",
    b".dir-locals.el",
    b".gdbinit",
    b".claude/settings.json",
    b".claude/settings.local.json",
    b".claude/hooks/x.sh",
    b".mcp.json",
    b".codex/config.toml",
    b".cursor/mcp.json",
    b".gemini/settings.json",
    b"opencode.json",
    b".opencode/plugin/x.ts",
    b".Rprofile",
    b".Renviron",
    b".RData",
    b"renv/activate.R",
    b".octaverc",
    b".ghci",
    b".ocamlinit",
    b".irbrc",
    b"$irbrc",
    b".pryrc",
    b".iex.exs",
    b".pdbrc",
    b"jupyter_server_config.py",
    b".npmrc",
    b".yarnrc",
    b".yarnrc.yml",
    b".yarn/releases/yarn-4.0.0.cjs",
    b".yarn/plugins/x.cjs",
    b".pnp.cjs",
    b".pnpmfile.cjs",
    b".pnpmfile.mjs",
    b"pnpm-workspace.yaml",
    b"bunfig.toml",
    b".cargo/config.toml",
    b".cargo/config",
    b"rust-toolchain.toml",
    b".mvn/extensions.xml",
    b".mvn/jvm.config",
    b".mvn/wrapper/maven-wrapper.properties",
    b".bazelrc",
    b"tools/bazel",
    b"tools/bazel.sh",
    b".lazy.lua",
    b".luarc.json",
    b".luarc.jsonc",
    b"project.sublime-project",
    b"project.sublime-workspace",
    b".nova/Tasks/x.json",
    b".vs/tasks.vs.json",
    b".vim/coc-settings.json",
    b".vimspector.json",
    b".settings/x.prefs",
    b".kateproject",
    b".bsp/sbt.json",
    b".vscode/c_cpp_properties.json",
    b".trae/mcp.json",
    b".clinerules/hooks/x",
    b".clinerules/workflows/AGENTS.md",
    b".claude/commands/CLAUDE.md",
    b".claude/rules/x.sh",
]
INSTRUCTIONS = [
    b"CLAUDE.md",
    b"CLAUDE.local.md",
    b"AGENTS.md",
    b"GEMINI.md",
    b".cursorrules",
    b".cursor/rules/style.mdc",
    b".claude/CLAUDE.md",
    b".claude/rules/style.md",
    b".windsurf/rules/style.md",
    b".clinerules",
    b".clinerules/style.md",
    b".kiro/steering/product.md",
    b".github/copilot-instructions.md",
    b".github/instructions/python.instructions.md",
]
ORDINARY = [
    b"Makefile",
    b"config",
    b"hooks/pre-commit",
    b"src/hooks/useThing.ts",
    b".gitignore",
    b".gitattributes",
    b".gitmodules",
    b".github/workflows/ci.yml",
    b".git/HEAD",
    b".git/index",
    b".git/hooks/pre-commit.sample",
    b".git/objects/ab/hooks",
    b".git/refs/heads/hooks/mine",
    b".git/logs/refs/heads/config",
    b".env",
    b".envrc.example",
    b".vscode/extensions.json",
    b"vscode/tasks.json",
    b".claude.md",
    b".pre-commit-config.yaml",
    b"package.json",
    b"conftest.py",
    b"git/hooks/x",
    b"rtx.py",
    b"tools/bazelisk.go",
    b"src/bazel",
    b"app_config.py",
    b"rules/style.md",
    b"docs/instructions.md",
    b"maven/extensions.xml",
    b"Cargo.toml",
]


@pytest.mark.parametrize("path", HOOKS)
def test_a_file_of_the_table_is_known_by_its_name(path: bytes) -> None:
    assert rule_for(path, Kind.FILE) is not None
    assert rule_for(b"some/where/" + path, Kind.FILE) is not None
    assert rule_for(path.upper(), Kind.FILE) is not None
    assert rule_for(path, Kind.DIRECTORY) is None


@pytest.mark.parametrize("path", INSTRUCTIONS)
def test_a_file_that_instructs_agents_is_known_as_that(path: bytes) -> None:
    rule = rule_for(b"some/where/" + path, Kind.FILE)
    assert rule is not None
    assert rule.is_instruction


@pytest.mark.parametrize("path", HOOKS)
def test_no_file_that_is_run_passes_for_an_instruction(path: bytes) -> None:
    rule = rule_for(path, Kind.FILE)
    assert rule is not None
    assert not rule.is_instruction


@pytest.mark.parametrize(
    ("path", "harmless", "harmful"),
    [
        (b"pnpm-workspace.yaml", b"packages:\n  - apps/*\n", b"pnpmfile: x.cjs\n"),
        (b"rust-toolchain.toml", b'[toolchain]\nchannel = "1.80"\n', b'[toolchain]\npath = "x"\n'),
    ],
)
def test_settings_that_nearly_every_project_has_are_judged_by_what_they_say(
    path: bytes, harmless: bytes, harmful: bytes
) -> None:
    rule = rule_for(path, Kind.FILE)
    assert rule is not None
    assert rule.judges is not None
    assert not rule.judges(harmless)
    assert rule.judges(harmful)
    assert rule.judges(harmless + b" " * 100_000 + harmful)


@pytest.mark.parametrize("path", ORDINARY)
def test_an_ordinary_file_is_not_taken_for_one(path: bytes) -> None:
    assert rule_for(path, Kind.FILE) is None
    assert rule_for(b"some/where/" + path, Kind.FILE) is None


@pytest.mark.parametrize(
    "path", [b".git", b".git/hooks", b".git/objects/info", b".git/refs", b".vscode", b".config", b".hg", b".jj/repo"]
)
def test_a_link_in_the_place_of_a_directory_counts_as_what_may_be_behind_it(path: bytes) -> None:
    assert rule_for(path, Kind.SYMLINK) is not None
    assert rule_for(b"sub/" + path, Kind.SYMLINK) is not None
