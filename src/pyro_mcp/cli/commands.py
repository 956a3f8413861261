"""All commands with their summaries: those of operations, and those of the command line only.

`pyro --help` loads this and must be fast: no requests, no dataclasses.
"""

from __future__ import annotations

from pyro_mcp.operations import table

BUILTINS = {
    "cp": "Copy files into or out of a workspace.",
    "ps": "List the workspaces that are running.",
    "stats": "Show the processor, memory and disk that VMs use.",
    "completion": "Print a shell completion script.",
    "demo ollama": "Let a local model use VMs, over Ollama.",
    "workspace top": "Show the processes in a workspace.",
    "workspace shell attach": "Attach your terminal to a shell.",
    "mcp serve": "Serve MCP over stdio, for a chat host.",
    "host connect": "Add the MCP server to a chat host's configuration.",
    "host disconnect": "Remove it from there.",
    "host repair": "Rewrite an entry that has drifted.",
    "host print-config": "Print a configuration for a chat host.",
    "host doctor": "Check whether chat hosts work with pyro.",
}
_ALIASES = {"ws": ("workspace",), "images": ("env", "list")}
# Commands that users also look for among those of workspaces.
_ALSO_THERE = frozenset({"cp", "ps", "stats"})
_VERBS = {"ls": "list", "rm": "delete"}
# By the common first words of several commands; nested groups come after the outer one.
GROUPS = {
    **table.GROUPS,
    "demo": "Demonstrations.",
    "mcp": "The MCP server.",
    "host": "Connect chat hosts: Claude Code, Codex, OpenCode.",
}
SUMMARIES = {**table.SUMMARIES, **BUILTINS}


def short_names() -> dict[str, str]:
    """Return the short names of commands and groups, with their descriptions."""
    names = {alias: f"Short for {' '.join(words)}." for alias, words in _ALIASES.items()}
    for short, verb in _VERBS.items():
        for command, summary in SUMMARIES.items():
            if command.endswith(f" {verb}"):
                names[command.removesuffix(verb) + short] = summary
    return names


def expanded(words: list[str]) -> list[str]:
    """Return a command line with the short names of commands replaced: ws, images, and ls and rm in any group."""
    if words[:1] and words[0] in _ALIASES:
        words = [*_ALIASES[words[0]], *words[1:]]
    if words[:1] == ["workspace"] and words[1:2] and words[1] in _ALSO_THERE:
        return words[1:]
    for at in range(1, min(len(words), table.LONGEST)):
        if words[at] in _VERBS and " ".join([*words[:at], _VERBS[words[at]]]) in SUMMARIES:
            return [*words[:at], _VERBS[words[at]], *words[at + 1 :]]
    return words
