"""Calls that earlier versions documented, with the names and shapes that they had; one guest serves all."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import Pyro, PyroError, create_server
from pyro_mcp.host.paths import Paths
from pyro_mcp.operations.machine import FETCH
from tests.support.pyro_cli import pyro as command

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.vm
ENVIRONMENT = "debian:12"
FIX = "--- a/note.txt\n+++ b/note.txt\n@@ -1 +1 @@\n-hello\n+patched\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compatibility")


@pytest.fixture(scope="module")
def user(home: Path) -> Generator[Pyro]:
    paths = Paths(cache=Paths.from_environment().cache, state=home / "state", runtime=home / "run")
    with Pyro(paths=paths) as user:
        yield user
        for each in user.list_workspaces()["workspaces"]:
            user.delete_workspace(each["workspace_id"])


@pytest.fixture(scope="module")
def ws(user: Pyro, home: Path) -> str:
    (home / "seed/src").mkdir(parents=True)
    (home / "seed/note.txt").write_text("hello\n")
    (home / "seed/src/note.txt").write_text("deep\n")
    created = user.create_workspace(
        ENVIRONMENT,
        seed_path=home / "seed",
        name="repro-fix",
        labels={"issue": "123"},
        network_policy="egress+published-ports",
        secrets=[{"name": "PIN", "value": "123"}],
    )
    assert isinstance(created["workspace_seed"], dict)
    assert created["workspace_seed"]["mode"] == "directory"
    assert (created["state"], created["workspace_path"], created["network_enabled"]) == ("started", "/workspace", True)
    assert created["secrets"] == [{"name": "PIN", "source_kind": "literal", "redacted": False}]
    assert (created["allow_host_compat"], created["last_command"]) == (False, None)
    return created["workspace_id"]


def test_a_result_is_a_dictionary(user: Pyro, ws: str) -> None:
    result = user.exec_workspace(ws, command="cat note.txt")
    assert (result["stdout"], result.stdout, result.get("nothing"), "exit_code" in result) == (
        "hello\n", "hello\n", None, True,
    )  # fmt: skip
    assert json.loads(json.dumps(result, sort_keys=True)) == dict(result) == result
    assert user.status_workspace(ws)["last_command"]["command"] == "cat note.txt"


def test_environments_are_a_list(user: Pyro) -> None:
    listed = user.list_environments()
    assert isinstance(listed, list)
    (found,) = [each for each in listed if each["name"] == ENVIRONMENT]
    assert (found["installed"], found["distribution"], found["distribution_version"]) == (True, "debian", "12")
    assert "git" in found["default_packages"]
    assert found["version"]
    assert found["compatibility"] == ">=5.0.0,<6.0.0"
    assert user.inspect_environment(ENVIRONMENT)["install_dir"] == found["install_dir"]
    pulled = user.pull_environment(ENVIRONMENT)
    assert (pulled["installed"], pulled["install_dir"]) == (True, found["install_dir"])
    assert os.path.dirname(pulled["rootfs_image"]) == found["install_dir"]
    assert os.path.exists(pulled["kernel_image"])


def test_a_prune_names_what_it_deleted(home: Path) -> None:
    with Pyro(paths=Paths(cache=home / "empty", state=home / "other", runtime=home / "other-run")) as other:
        pruned = other.prune_environments()
    assert (pruned["deleted_environment_dirs"], pruned["count"]) == ([], 0)


def test_a_run_has_its_cleanup_and_one_text_as_its_command(user: Pyro) -> None:
    done = user.run_in_vm(ENVIRONMENT, ["echo", "a b"], timeout_seconds=30)
    assert done["command"] == "echo 'a b'"
    assert done["cleanup"] == {"vm_id": done["vm_id"], "deleted": True, "reason": "post_exec_cleanup"}


def test_a_vm_is_shown_step_by_step(user: Pyro) -> None:
    created = user.create_vm(ENVIRONMENT)
    assert (created["state"], created["execution_mode"], created["network_enabled"]) == ("created", "pending", False)
    info = user.network_info_vm(created["vm_id"])
    assert (info["network_enabled"], info["outbound_connectivity_expected"], info["dns_servers"]) == (False, False, [])
    assert info["reason"] == "its network policy is off"
    assert user.start_vm(created["vm_id"])["state"] == "started"
    assert user.start_vm(created["vm_id"])["state"] == "started"
    assert user.status_vm(created["vm_id"])["execution_mode"].startswith("guest_")
    ran = user.exec_vm(created["vm_id"], command="echo $((6 * 7))", timeout_seconds=30)
    assert (ran["vm_id"], ran["environment"], ran["stdout"], ran["exit_code"]) == (
        created["vm_id"], ENVIRONMENT, "42\n", 0,
    )  # fmt: skip
    assert ran["cleanup"] == {"vm_id": created["vm_id"], "deleted": True, "reason": "post_exec_cleanup"}
    other = user.start_vm(user.create_vm(ENVIRONMENT)["vm_id"])["vm_id"]
    assert user.stop_vm(other)["state"] == "stopped"
    assert user.delete_vm(other)["reason"] == "explicit_delete"
    assert user.reap_expired()["deleted_vm_ids"] == []


def test_files_and_patches_have_types_and_statuses(user: Pyro, ws: str, home: Path) -> None:
    listed = user.list_workspace_files(ws, recursive=True)
    assert (listed["path"], listed["artifact_type"]) == ("/workspace", "directory")
    entries = {each["path"]: (each["artifact_type"], each["size_bytes"]) for each in listed["entries"]}
    assert (entries["/workspace/src"], entries["/workspace/note.txt"]) == (("directory", 0), ("file", 6))
    itself = user.list_workspace_files(ws, path="note.txt")
    assert (itself["artifact_type"], itself["count"]) == ("file", 1)
    patched = user.apply_workspace_patch(ws, patch=FIX)
    assert (patched["changed"], patched["summary"]["modified"]) == (True, 1)
    assert [(each["path"], each["status"]) for each in patched["entries"]] == [("/workspace/note.txt", "modified")]
    again = "--- /workspace/note.txt\n+++ /workspace/note.txt\n@@ -1 +1 @@\n-patched\n+again\n"
    assert user.apply_workspace_patch(ws, patch=again)["summary"]["modified"] == 1
    exported = user.export_workspace(ws, "src/note.txt", output_path=home / "new/deep/note.txt")
    assert (exported["artifact_type"], exported["workspace_path"]) == ("file", "/workspace/src/note.txt")
    assert (home / "new/deep/note.txt").read_text() == "deep\n"
    pushed = user.push_workspace_sync(ws, home / "seed", dest="copy")
    assert pushed["workspace_sync"]["destination"] == "/workspace/copy"
    diff = user.diff_workspace(ws)
    assert (diff["changed"], diff["summary"]["modified"]) == (True, 1)
    assert {each["artifact_type"] for each in diff["entries"] if each["path"] == "note.txt"} == {"file"}


def test_logs_have_entries(user: Pyro, ws: str) -> None:
    done = user.exec_workspace(ws, command="echo logged; exit 3")
    last = user.logs_workspace(ws)["entries"][-1]
    assert last["sequence"] == done["sequence"]
    assert (last["exit_code"], last["stdout"], last["command"]) == (3, "logged\n", "echo logged; exit 3")
    assert last["recorded_at"] >= last["started_at"]


def test_snapshots_and_resets_are_described(user: Pyro) -> None:
    ws = user.create_workspace(ENVIRONMENT)["workspace_id"]
    user.write_workspace_file(ws, "note.txt", text="kept\n")
    made = user.create_snapshot(ws, "checkpoint")
    assert made["workspace_id"] == ws
    assert (made["snapshot"]["snapshot_name"], made["snapshot"]["kind"]) == ("checkpoint", "named")
    listed = {each["snapshot_name"]: each["deletable"] for each in user.list_snapshots(ws)["snapshots"]}
    assert listed == {"baseline": False, "checkpoint": True}
    user.write_workspace_file(ws, "note.txt", text="changed\n")
    reset = user.reset_workspace(ws, snapshot="checkpoint")
    assert (reset["workspace_id"], reset["workspace_reset"]["snapshot_name"]) == (ws, "checkpoint")
    assert user.read_workspace_file(ws, "note.txt")["content"] == "kept\n"
    assert user.delete_snapshot(ws, "checkpoint")["deleted"] is True
    user.delete_workspace(ws)


def test_shells_have_all_their_fields_in_every_result(user: Pyro, ws: str) -> None:
    shell = user.open_shell(ws, cwd="src", cols=90, rows=20)
    ident = shell["shell_id"]
    assert (shell["cwd"], shell["cols"], shell["rows"], shell["state"]) == ("/workspace/src", 90, 20, "running")
    assert (shell["ended_at"], shell["exit_code"]) == (None, None)
    written = user.write_shell(ws, ident, input="pwd", append_newline=True)
    assert (written["input_length"], written["append_newline"]) == (3, True)
    read = user.read_shell(ws, ident, cursor=written["cursor"], plain=True, wait_for_idle_ms=500)
    assert "/workspace/src" in read["output"]
    assert read["next_cursor"] > read["cursor"]
    assert user.signal_shell(ws, ident, signal_name="INT")["signal"] == "INT"
    closed = user.close_shell(ws, ident)
    assert (closed["closed"], closed["state"], closed["shell_id"]) == (True, "stopped", ident)


def test_services_have_names_checks_and_reasons(user: Pyro, ws: str) -> None:
    started = user.start_service(
        ws,
        "web",
        command=["python3", "-m", "http.server", "8080"],
        readiness={"type": "tcp", "host": "127.0.0.1", "port": 8080},
        ready_timeout_seconds=60,
        published_ports=[{"guest_port": 8080}],
    )
    assert (started["service_name"], started["state"]) == ("web", "running")
    assert started["readiness"] == {"type": "tcp", "address": "127.0.0.1:8080"}
    (port,) = started["published_ports"]
    assert (port["host"], port["guest_port"], port["protocol"]) == ("127.0.0.1", 8080, "tcp")
    with urllib.request.urlopen(f"http://127.0.0.1:{port['host_port']}/", timeout=30) as page:
        assert page.status == 200
    listed = user.list_services(ws)
    assert (listed["count"], listed["running_count"]) == (1, 1)
    assert user.status_service(ws, service_name="web")["published_ports"] == [port]
    logs = user.logs_service(ws, service_name="web")
    assert "GET / " in logs["stdout"]
    assert logs["stderr"] == ""
    stopped = user.stop_service(ws, "web")
    assert (stopped["state"], stopped["stop_reason"]) == ("stopped", "sigterm")
    assert stopped["ended_at"] > stopped["started_at"]
    ready = {"type": "file", "path": ".web-ready"}
    up = user.start_service(ws, "up", command="touch .web-ready; exec sleep 600", readiness=ready)
    assert up["readiness"] == {"type": "file", "path": "/workspace/.web-ready"}
    page = {"type": "http", "url": "http://127.0.0.1:8081/"}
    serving = ["python3", "-m", "http.server", "8081"]
    assert user.start_service(ws, "page", command=serving, readiness=page)["readiness"] == page
    assert user.stop_service(ws, service_name="page")["state"] == "stopped"
    for check, wanted in (({"type": "command", "command": "false"}, "readiness_timeout"), (None, None)):
        line = "sleep 600" if check else "echo last words; exit 4"
        failed = user.start_service(ws, "bad", command=line, readiness=check, ready_timeout_seconds=1)
        assert (failed["state"], failed["stop_reason"]) == ("failed", wanted or "process_exited_before_ready")
    assert (failed["exit_code"], failed["last_output"]) == (4, "last words\n")


def test_the_demonstration_of_a_network_fetches_a_page_over_https(user: Pyro, ws: str) -> None:
    serve = (
        "import ssl; from http.server import HTTPServer, SimpleHTTPRequestHandler;"
        "server = HTTPServer(('127.0.0.1', 443), SimpleHTTPRequestHandler);"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain('cert', 'key');"
        "server.socket = context.wrap_socket(server.socket, server_side=True); server.serve_forever()"
    )
    archive = (
        "mkdir debian; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=archive"
        " -keyout key -out cert && sed -i 's#http://[^ ]*#http://localhost/debian#' /etc/apt/sources.list"
    )
    user.exec_workspace(ws, command=archive)
    ready = {"type": "tcp", "address": "127.0.0.1:443"}
    user.start_service(ws, "archive", command=["python3", "-c", serve], readiness=ready)
    assert user.exec_workspace(ws, command=FETCH)["stdout"] == "https status 200 from 127.0.0.1, ssl_verify_result 18\n"
    user.stop_service(ws, "archive")


def test_a_summary_has_sections(user: Pyro, ws: str, home: Path) -> None:
    user.export_workspace(ws, "note.txt", output_path=home / "exported.txt")
    summary = user.summarize_workspace(ws)
    assert summary["workspace_id"] == ws
    assert summary["changes"]["available"] is True
    assert [each["kind"] for each in summary["artifacts"]["exports"]] == ["export"] * 2
    assert summary["snapshots"]["named_count"] == 0
    assert (summary["services"]["count"], summary["outcome"]["state"]) == (5, "started")


def test_a_workspace_is_listed_and_renamed(user: Pyro, ws: str) -> None:
    updated = user.update_workspace(ws, name="repro-fix", labels={"owner": "a"}, clear_labels=["issue"])
    assert (updated["name"], updated["labels"]) == ("repro-fix", {"owner": "a"})
    listed = user.list_workspaces()
    (entry,) = [each for each in listed["workspaces"] if each["workspace_id"] == ws]
    assert listed["count"] == len(listed["workspaces"])
    assert {"name", "state", "created_at", "last_activity_at", "expires_at", "command_count", "service_count"} <= set(
        entry
    )


def test_names_may_be_shared_and_then_are_no_address(user: Pyro, ws: str) -> None:
    other = user.create_workspace(ENVIRONMENT, name="repro-fix")["workspace_id"]
    with pytest.raises(RuntimeError, match=f"is the name of several workspaces: {other}, {ws}") as caught:
        user.status_workspace("repro-fix")
    assert isinstance(caught.value, (PyroError, ValueError))
    deleted = user.delete_workspace(other)
    assert (deleted["deleted"], deleted["reason"]) == (True, "explicit_delete")
    assert user.status_workspace("repro-fix")["workspace_id"] == ws


def test_the_callers_home_is_taken_in_every_host_path(
    user: Pyro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed/note.txt").write_text("home\n")
    (tmp_path / "token").write_text("seven-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    created = user.create_workspace(
        "debian:12-base", seed_path="~/seed", secrets=[{"name": "TOKEN", "file_path": "~/token"}]
    )
    ws = created["workspace_id"]
    assert created["secrets"] == [{"name": "TOKEN", "source_kind": "file", "redacted": True}]
    done = user.exec_workspace(ws, command="cat note.txt; echo ${#GIVEN}", secret_env={"TOKEN": "GIVEN"})
    assert done["stdout"] == "home\n7\n"
    assert user.push_workspace_sync(ws, "~/seed", dest="copy")["workspace_sync"]["entry_count"] == 1
    user.export_workspace(ws, "note.txt", output_path="~/out/note.txt")
    assert (tmp_path / "out/note.txt").read_text() == "home\n"
    # What was an error: nothing changes. A service that runs still can't be started again.
    assert user.update_workspace(ws, name="home")["name"] == user.update_workspace(ws, name="home")["name"] == "home"
    assert user.start_workspace(ws)["state"] == "started"
    user.start_service(ws, "web", command="sleep 600")
    with pytest.raises(RuntimeError, match="it is already running"):
        user.start_service(ws, "web", command="sleep 600")
    user.delete_workspace(ws)


def test_a_server_is_called_in_its_own_process(user: Pyro, ws: str) -> None:
    server = user.create_server(profile="workspace-full")

    async def called() -> Any:
        tools = {tool.name: tool for tool in await server.list_tools()}
        assert "service_name" in tools["service_start"].inputSchema["properties"]
        assert "ready_http" in tools["service_start"].inputSchema["properties"]
        return await server.call_tool("workspace_exec", {"workspace_id": ws, "command": "cat src/note.txt"})

    content, structured = asyncio.run(called())
    assert structured["stdout"] == "deep\n"
    assert content[0].type == "text"
    assert callable(create_server)


def test_the_command_line_takes_and_prints_what_it_did(
    user: Pyro, ws: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_STATE_DIR", str(home / "state"))
    monkeypatch.setenv("PYRO_RUNTIME_DIR", str(home / "run"))
    done = command("workspace", "exec", ws, "cat", "src/note.txt")
    assert (done.returncode, done.stdout) == (0, b"deep\n")
    assert (
        command("workspace", "service", "start", ws, "web", "--ready-command", "true", "--", "sleep 9").returncode == 0
    )
    failed = command("workspace", "service", "start", ws, "bad", "--", "echo no; exit 1")
    assert failed.returncode == 1
    assert b"process_exited_before_ready" in failed.stdout
    listed = command("env", "list").stdout.decode().splitlines()
    assert listed[0].startswith("Catalog version: ")
    assert any(line.startswith(f"{ENVIRONMENT} [installed] ") for line in listed)
    pulled = command("env", "pull", ENVIRONMENT)
    assert pulled.stderr.decode().splitlines()[0] == f"[pull] phase=install environment={ENVIRONMENT}"
    assert f"[pull] phase=ready environment={ENVIRONMENT}" in pulled.stderr.decode()
    assert pulled.stdout.decode().splitlines()[0] == f"Pulled: {ENVIRONMENT}"
    module = subprocess.run([sys.executable, "-m", "pyro_mcp.cli", "env", "list"], capture_output=True, check=True)
    assert module.stdout.decode().splitlines() == listed


# The last one: it stops the guest.
def test_the_disk_of_a_stopped_workspace_is_read_below_the_workspace(user: Pyro, ws: str, home: Path) -> None:
    assert user.stop_workspace(ws)["state"] == "stopped"
    assert user.read_workspace_disk(ws, "src/note.txt")["content"] == "deep\n"
    assert user.read_workspace_disk(ws, "/etc/hostname")["path"] == "/etc/hostname"
    listed = user.list_workspace_disk(ws)
    assert (listed["path"], listed["artifact_type"]) == ("/workspace", "directory")
    assert {"/workspace/src": 0}.items() <= {each["path"]: each["size_bytes"] for each in listed["entries"]}.items()
    # A small one: its whole root is copied.
    small = user.create_workspace("debian:12-base")["workspace_id"]
    user.stop_workspace(small)
    exported = user.export_workspace_disk(small, output_path=home / "images/disk.ext4")
    assert exported["disk_format"] == "ext4"
    assert exported["bytes_written"] == os.stat(home / "images/disk.ext4").st_size
    user.delete_workspace(small)
