"""Connecting, checking and disconnecting hosts; Claude Code's program is a script here."""

from __future__ import annotations

import json
import re
import stat
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import __version__
from pyro_mcp.cli.main import main
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.hosts.checkup import check
from pyro_mcp.hosts.claude_code import ClaudeCode
from pyro_mcp.hosts.codex import Codex
from pyro_mcp.hosts.host import Host, Scope, Surroundings
from pyro_mcp.hosts.known import CONFIGS, HOSTS
from pyro_mcp.hosts.opencode import OpenCode
from tests.support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

# `claude mcp add-json -s SCOPE NAME JSON` and `remove -s SCOPE NAME`, as 2.1.332 answers them.
CLAUDE = """#!{python}
import json, os, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("2.1.332 (Claude Code)"); sys.exit(0)
verb, _, scope, name, *rest = words[1:]
path = os.path.join(os.environ["HOME"], ".claude.json") if scope != "project" else ".mcp.json"
try:
    document = json.load(open(path))
except FileNotFoundError:
    document = {{}}
table = document
if scope == "local":
    table = document.setdefault("projects", {{}}).setdefault(os.getcwd(), {{}})
table = table.setdefault("mcpServers", {{}})
if verb == "add-json":
    if name in table:
        sys.exit(f"{{name}} already exists in {{scope}} config")
    if "refused" in rest[0]:
        sys.exit("no")
    table[name] = json.loads(rest[0])
else:
    del table[name]
json.dump(document, open(path, "w"))
"""
COMMAND = ["/opt/pyro", "mcp", "serve", "--mode", "inspect"]


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """Give a home with a claude, and a project as the working directory."""
    programs, project = tmp_path / "bin", tmp_path / "project"
    for each in (programs, project / ".git"):
        each.mkdir(parents=True)
    claude = programs / "claude"
    claude.write_text(CLAUDE.format(python=sys.executable))
    claude.chmod(0o755)
    for name in ("codex", "opencode"):
        (programs / name).symlink_to("/bin/true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    return Surroundings.observe()


EVERY = [(kind, scope) for kind in HOSTS.values() for scope in kind.scopes]


@pytest.mark.parametrize(("kind", "scope"), EVERY, ids=lambda value: getattr(value, "name", str(value)))
def test_an_entry_is_written_once_found_and_removed(around: Surroundings, kind: type[Host], scope: Scope) -> None:
    host = kind(around)
    # Codex looks at a project's file once that is trusted.
    codex = around.home / ".codex" / "config.toml"
    codex.parent.mkdir()
    codex.write_text(f'[projects."{around.directory}"]\ntrust_level = "trusted"\n')
    assert host.entries() == []
    assert host.connect(scope, COMMAND, approve=True)
    found = host.entries()[0]
    assert (found.place.scope, list(found.command), found.enabled, found.approves) == (scope, COMMAND, True, True)
    assert host.connect(scope, COMMAND, approve=True) == []
    assert host.connect(scope, [*COMMAND, "--allow-path", "/x"], approve=True)
    assert host.entries()[0].command[-1] == "/x"
    assert host.disconnect(scope)
    assert host.entries() == []
    assert host.disconnect(scope) == []


def test_codex_asks_unless_it_was_told_to_approve(around: Surroundings) -> None:
    host = Codex(around)
    host.connect(Scope.USER, COMMAND, approve=False)
    entry = tomllib.loads(host.place_of(Scope.USER).path.read_text())["mcp_servers"]["pyro"]
    assert "default_tools_approval_mode" not in entry
    assert "PYRO_STATE_DIR" in entry["env_vars"]
    assert not host.entries()[0].approves


def test_a_file_behind_a_link_is_changed_and_keeps_its_mode(around: Surroundings) -> None:
    real = around.home / "dotfiles.json"
    real.write_text("{ // mine\n}\n")
    real.chmod(0o640)
    link = around.home / ".config" / "opencode" / "opencode.jsonc"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    OpenCode(around).connect(Scope.USER, COMMAND, approve=True)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert "// mine" in real.read_text()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Codex, ".codex/config.toml"), (OpenCode, ".config/opencode/opencode.json"), (ClaudeCode, ".claude.json")],
)
def test_a_broken_file_is_left_alone(around: Surroundings, kind: type[Host], name: str) -> None:
    path = around.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{broken")
    with pytest.raises(PyroError, match=r"line 1, column \d+|line 1") as caught:
        kind(around).connect(Scope.USER, COMMAND, approve=True)
    assert caught.value.code is ErrorCode.INVALID
    assert str(path) in caught.value.message
    assert path.read_text() == "{broken"
    found = check(kind(around))
    assert found.status == "drifted"
    assert str(path) in found.details[0]


def test_what_claude_refuses_leaves_the_old_entry(around: Surroundings) -> None:
    host = ClaudeCode(around)
    host.connect(Scope.USER, COMMAND, approve=True)
    with pytest.raises(PyroError, match="claude mcp add-json failed"):
        host.connect(Scope.USER, ["/opt/refused"], approve=True)
    assert list(host.entries()[0].command) == COMMAND


def test_a_hidden_entry_that_differs_is_reported(around: Surroundings) -> None:
    host = OpenCode(around)
    host.connect(Scope.USER, COMMAND, approve=True)
    host.connect(Scope.PROJECT, ["/opt/other", "mcp", "serve"], approve=True)
    found = check(host)
    assert found.status == "drifted"
    assert "hides a different one" in " ".join(found.details)
    assert "does not exist" in " ".join(found.details)


def test_a_host_that_is_not_there_is_unavailable(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    Codex(around).connect(Scope.USER, COMMAND, approve=True)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = check(Codex(Surroundings.observe()))
    assert (found.status, found.configured) == ("unavailable", True)
    assert found.details[0].startswith(
        "codex is not on PATH: install Codex, or add its directory to PATH; the entry in"
    )


def test_a_server_that_gets_too_little_or_too_little_time_is_reported(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_STATE_DIR", str(around.home / "state"))
    host = Codex(Surroundings.observe())
    host.connect(Scope.USER, COMMAND, approve=True)
    assert not any("does not get" in each or "gives calls up" in each for each in check(host).details)
    path = host.place_of(Scope.USER).path
    kept = [line for line in path.read_text().splitlines() if not line.startswith(("env_vars", "tool_timeout_sec"))]
    path.write_text("\n".join(kept))
    details = " ".join(check(host).details)
    assert re.search("its server does not get .*PYRO_STATE_DIR.* as set here", details)
    assert "gives calls up after 300 s; repair lets them take 3600 s" in details


def test_an_entry_of_a_project_counts_in_codex_only_if_the_project_is_trusted(around: Surroundings) -> None:
    host = Codex(around)
    user, project = (host.place_of(scope).path for scope in (Scope.USER, Scope.PROJECT))
    host.connect(Scope.USER, COMMAND, approve=True)
    host.connect(Scope.PROJECT, ["/opt/other", "mcp", "serve"], approve=False)
    assert list(host.entries()[0].command) == COMMAND
    assert f"Codex does not use {project}: it does not trust this project" in check(host).details
    user.write_text(f'{user.read_text()}\n[projects."{around.directory}"]\ntrust_level = "trusted"\n')
    used, hidden = host.entries()
    assert (used.place.path, used.command[0], hidden.place.path) == (project, "/opt/other", user)
    # The project's does not say how calls are approved: the user's does.
    assert used.approves
    assert f"the entry of scope project hides a different one in {user}" in check(host).details
    project.write_text("[mcp_servers.pyro]\nenabled = false\ndisabled_tools = ['vm_run']\n")
    used = host.entries()[0]
    assert (list(used.command), used.enabled) == (COMMAND, False)
    assert "the entry has disabled_tools: Codex shows only some of our tools" in check(host).details
    assert f"the entry in {project} is switched off" in check(host).details


def test_repair_keeps_the_options_of_an_entry_that_is_not_used(
    around: Surroundings, capfd: pytest.CaptureFixture[str]
) -> None:
    del around
    options = ("--mode", "inspect")
    assert main(["host", "connect", "codex", "--scope", "project", *options]) == 0
    capfd.readouterr()
    assert main(["host", "repair", "codex", "--scope", "project", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["server_command"][1:] == ["mcp", "serve", *options]


# What OpenCode 1.18.33 reads, the strongest first.
OPENCODE_FILES = (
    "own/opencode.json", ".opencode/opencode.json", "project/.opencode/opencode.jsonc",
    "project/.opencode/opencode.json", "project/inner/.opencode/opencode.json", "project/inner/opencode.jsonc",
    "project/inner/opencode.json", "project/opencode.json", "named.json", ".config/opencode/opencode.jsonc",
    ".config/opencode/opencode.json", ".config/opencode/config.json",
)  # fmt: skip


def test_an_entry_of_opencode_is_put_together_from_all_files_that_it_reads(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = around.directory / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    monkeypatch.setenv("OPENCODE_CONFIG_DIR", str(around.home / "own"))
    monkeypatch.setenv("OPENCODE_CONFIG", str(around.home / "named.json"))
    monkeypatch.setenv("OPENCODE_CONFIG_CONTENT", '{"mcp": {"pyro": {"enabled": true}}}')
    host = OpenCode(Surroundings.observe())
    for number, name in reversed(list(enumerate(OPENCODE_FILES))):
        path = around.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"command": [f"/{number}", "mcp", "serve"]}
        path.write_text(json.dumps({"mcp": {"pyro": entry}}))
        assert host.entries()[0].command[0] == f"/{number}", name
    (around.home / OPENCODE_FILES[0]).write_text(json.dumps({"mcp": {"pyro": {"enabled": False}}}))
    used = host.entries()[0]
    assert (used.command[0], used.enabled, len(host.entries())) == ("/1", False, len(OPENCODE_FILES))
    assert any(each.startswith("OPENCODE_CONFIG_CONTENT") for each in check(host).details)


@pytest.mark.parametrize("where", [".claude/settings.json", "project/.claude/settings.local.json"])
def test_what_claude_was_told_not_to_use_is_reported(
    where: str, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = around.directory / ".mcp.json"
    path.write_text(json.dumps({"mcpServers": {"pyro": {"command": COMMAND[0], "args": COMMAND[1:]}}}))
    settings = around.home / where
    settings.parent.mkdir(parents=True, exist_ok=True)
    (around.directory / "inner").mkdir()
    monkeypatch.chdir(around.directory / "inner")
    host = ClaudeCode(Surroundings.observe())
    assert any("asks once" in each for each in check(ClaudeCode(around)).details)
    assert host.entries()[0].place.path == path
    settings.write_text(json.dumps({"enabledMcpjsonServers": ["pyro"], "permissions": {"deny": ["mcp__pyro"]}}))
    details = check(ClaudeCode(around)).details
    assert not any("asks once" in each for each in details)
    assert "the settings of Claude Code deny our tools" in details
    settings.write_text(json.dumps({"disabledMcpjsonServers": ["pyro"]}))
    assert f"the entry in {path} is switched off" in check(ClaudeCode(around)).details


def test_a_server_that_was_switched_off_for_a_project_of_claude_is_reported(around: Surroundings) -> None:
    host = ClaudeCode(around)
    host.connect(Scope.USER, COMMAND, approve=True)
    path = host.place_of(Scope.USER).path
    document = json.loads(path.read_text())
    document["projects"] = {str(around.directory): {"disabledMcpServers": ["pyro"]}}
    path.write_text(json.dumps(document))
    assert f"the entry in {path} is switched off" in check(host).details


def test_what_a_person_added_to_an_entry_of_claude_stays_except_a_short_limit(around: Surroundings) -> None:
    host = ClaudeCode(around)
    host.connect(Scope.USER, COMMAND, approve=True)
    path = host.place_of(Scope.USER).path
    entry: dict[str, Any] = {
        "type": "stdio",
        "command": "/gone",
        "args": [],
        "env": {"A": "b"},
        "alwaysLoad": True,
        "timeout": 5000,
    }
    path.write_text(json.dumps({"mcpServers": {"pyro": entry}}))
    assert host.entries()[0].gives_up_after_s == 5
    host.connect(Scope.USER, COMMAND, approve=True)
    written = json.loads(path.read_text())["mcpServers"]["pyro"]
    assert written == {
        "type": "stdio", "command": COMMAND[0], "args": COMMAND[1:], "env": {"A": "b"}, "alwaysLoad": True
    }  # fmt: skip


SERVERS = {
    "codex": ("initialize", "2025-06-18"),
    "claude-code": ("server/discover", "2026-07-28"),
    "opencode": ("initialize", "2025-11-25"),
}
# Says what it was asked and given, and ends with 3.
SERVER = """#!{python}
import json, os, sys
if "--version" in sys.argv:
    print("pyro {version}"); sys.exit()
for line in sys.stdin:
    asked = json.loads(line)
    open({record!r}, "a").write(json.dumps([asked, dict(os.environ), os.getcwd()]) + "\\n")
    if "id" in asked:
        print(json.dumps({{"jsonrpc": "2.0", "id": asked["id"], "result": {{"tools": [{{}}]}}}}), flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("name", HOSTS)
def test_the_server_is_started_as_its_host_would_start_it(
    name: str, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, program = around.home / "record", around.home / "pyro"
    program.write_text(SERVER.format(python=sys.executable, version=__version__, record=str(record)))
    program.chmod(0o755)
    monkeypatch.setenv("FOREIGN", "1")
    host = HOSTS[name](Surroundings.observe())
    host.connect(Scope.USER, [str(program), "mcp", "serve"], approve=True)
    path = host.place_of(Scope.USER).path
    if name == "codex":
        path.write_text(f'{path.read_text()}\n[mcp_servers.pyro.env]\nSET = "here"\nPYRO_STATE_DIR = "/elsewhere"\n')
    else:
        document = json.loads(path.read_text())
        servers = document["mcpServers" if name == "claude-code" else "mcp"]
        given = {"SET": "here", "PYRO_STATE_DIR": "/elsewhere"}
        servers["pyro"]["env" if name == "claude-code" else "environment"] = given
        path.write_text(json.dumps(document))
    found = check(host)
    first, *_ = (json.loads(line) for line in record.read_text().splitlines())
    asked, environment, directory = first
    method, revision = SERVERS[name]
    assert asked["method"] == method
    assert revision in json.dumps(asked["params"])
    assert (environment["SET"], directory) == ("here", str(around.directory))
    assert environment.get("FOREIGN") == (None if name == "codex" else "1")
    assert "the server ended with status 3 when its stdin was closed" in found.details
    assert any("PYRO_STATE_DIR as set here" in each for each in found.details)


def test_a_server_that_uvx_starts_is_known_as_ours(around: Surroundings) -> None:
    program = around.home / "uvx"
    program.write_text(f'#!/bin/sh\n[ "$4 $1 $2" = "--version --from pyro-mcp>=5" ] && echo pyro {__version__}\n')
    program.chmod(0o755)
    host = OpenCode(around)
    host.connect(Scope.USER, [str(program), "--from", "pyro-mcp>=5", "pyro", "mcp", "serve"], approve=True)
    details = " ".join(check(host).details)
    assert "not that of an MCP server" not in details
    assert "is not pyro" not in details
    assert "it does not answer as an MCP server" in details


def test_where_a_host_keeps_what_a_server_printed_is_named(around: Surroundings) -> None:
    program = around.home / "pyro"
    program.write_text(f"#!/bin/sh\ncase $1 in --version) echo pyro {__version__};; *) exit 1;; esac\n")
    program.chmod(0o755)
    host = OpenCode(around)
    host.connect(Scope.USER, [str(program), "mcp", "serve"], approve=True)
    assert "OpenCode keeps what servers print in ~/.local/share/opencode/log/" in " ".join(check(host).details)


def test_the_command_connects_checks_and_repairs(
    around: Surroundings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pyro(*words: str) -> dict[str, Any]:
        assert main(["host", *words, "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    allowed = str(around.home / "a b")
    (around.home / "a b").mkdir()
    (around.home / "ca.pem").write_text(Authority("Root").pem)
    trusted = str(around.home / "ca.pem")
    options = (
        "--mode",
        "inspect",
        "--allow-path",
        allowed,
        "--network-policy",
        "packages",
        "--allow-host",
        "a.example",
        "--allow-host",
        "*.b.example:443",
        "--deny-host",
        "10.0.0.0/8",
        "--ca-file",
        trusted,
    )
    written = pyro("connect", "codex", *options)
    assert written["server_command"][1:] == ["mcp", "serve", *options]
    assert pyro("connect", "codex", *options)["changed"] == []
    found = pyro("doctor", "codex")["hosts"][0]
    assert (found["status"], found["configured"], found["tool_count"]) == ("ok", True, 11)
    assert "approved: Codex calls our tools without asking" in found["details"]
    assert any(each.startswith("project source here: ") for each in found["details"])
    config = Codex(around).place_of(Scope.USER).path
    config.write_text(config.read_text().replace(written["server_command"][0], "/gone/pyro"))
    assert main(["host", "doctor", "codex"]) == 1
    assert "fix: pyro host repair codex" in capfd.readouterr().out
    assert pyro("repair", "codex")["server_command"] == written["server_command"]
    monkeypatch.chdir(around.home)
    printed = pyro("print-config", "codex", "--ca-file", "ca.pem")["server_command"]
    assert printed[-2:] == ["--ca-file", trusted]
    assert main(["host", "connect", "codex", "--ca-file", "gone.pem"]) == 1
    assert pyro("disconnect", "codex")["changed"] == [str(config)]
    assert config.read_text() == ""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_printed_for_every_host(
    around: Surroundings, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["host", "print-config", name, "--installed-package", "--profile", "vm-run"]) == 0
    text = capfd.readouterr().out
    assert all(word in text for word in ('"pyro"', '"mcp"', '"serve"', '"--profile"', '"vm-run"'))
    output = around.home / "out"
    assert main(["host", "print-config", name, "--output", str(output)]) == 0
    assert output.stat().st_size > 50
    assert main(["host", "print-config", name, "--output", str(output)]) == 1
    assert "already exists" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["connect", "cursor"], "'cursor' can't be connected"),
        (["connect", "codex", "--scope", "local"], "Codex has no scope 'local'"),
        (["connect", "codex", "--approve", "--ask"], "--approve and --ask"),
        (["connect", "codex", "--mode", "x"], "there is no mode 'x'"),
        (["print-config", "x"], "unknown host 'x'"),
    ],
)
def test_wrong_usage_says_what_exists(
    around: Surroundings, words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    del around
    assert main(["host", *words]) in {1, 2}
    assert message in capfd.readouterr().err
