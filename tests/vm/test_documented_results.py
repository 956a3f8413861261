"""Every result that earlier versions documented, field by field: here, or in the list of differences.

One guest makes all calls; each row checks one result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.host.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm
ENVIRONMENT = "debian:12-base"
MIGRATION = Path(__file__).resolve().parents[2] / "docs/migration.md"
FIX = "--- a/note.txt\n+++ b/note.txt\n@@ -1 +1 @@\n-hello\n+patched\n"

_VM = (
    "vm_id environment vcpu_count mem_mib ttl_seconds created_at expires_at state network_enabled allow_host_compat"
    " guest_ip execution_mode"
)
_RAN = "environment command stdout stderr exit_code duration_ms execution_mode"
_WORKSPACE = (
    "workspace_id name labels environment vcpu_count mem_mib ttl_seconds created_at last_activity_at expires_at state"
    " network_policy network_enabled allow_host_compat guest_ip execution_mode workspace_path workspace_seed secrets"
    " command_count last_command reset_count last_reset_at service_count running_service_count"
)
_ENVIRONMENT = (
    "name version description default_packages distribution distribution_version platform oci_registry oci_repository"
    " oci_reference source_digest compatibility catalog_version installed cache_dir install_dir"
)
_ENTRY = "path artifact_type size_bytes link_target"
_SNAPSHOT = "workspace_id snapshot_name kind created_at deletable"
_SHELL = "workspace_id shell_id cwd cols rows state started_at ended_at exit_code execution_mode"
_SERVICE = (
    "workspace_id service_name state command cwd started_at ended_at exit_code execution_mode readiness ready_at"
    " stop_reason published_ports"
)
# The call, where in its result, and the fields there.
ROWS = [
    ("list_environments", "0", _ENVIRONMENT),
    ("inspect_environment", "", f"{_ENVIRONMENT} install_manifest"),
    ("pull_environment", "", f"{_ENVIRONMENT} kernel_image rootfs_image source"),
    ("prune_environments", "", "deleted_environment_dirs count"),
    ("create_vm", "", _VM),
    ("start_vm", "", _VM),
    ("status_vm", "", _VM),
    ("stop_vm", "", _VM),
    ("network_info_vm", "", "vm_id network_enabled outbound_connectivity_expected reason"),
    ("network_info_vm", "", "guest_ip gateway_ip subnet_cidr dns_servers"),
    ("exec_vm", "", f"vm_id cleanup {_RAN}"),
    ("run_in_vm", "", f"vm_id cleanup {_RAN}"),
    ("run_in_vm", "cleanup", "vm_id deleted reason"),
    ("demo", "", f"vm_id cleanup {_RAN}"),
    ("delete_vm", "", "vm_id deleted reason"),
    ("reap_expired", "", "deleted_vm_ids count"),
    ("create_workspace", "", _WORKSPACE),
    ("create_workspace", "workspace_seed", "mode seed_path destination entry_count bytes_written"),
    ("create_workspace", "workspace_seed", "origin_kind origin_ref"),
    ("create_workspace", "secrets 0", "name source_kind"),
    ("update_workspace", "", _WORKSPACE),
    ("status_workspace", "", _WORKSPACE),
    ("status_workspace", "last_command", "sequence command cwd exit_code duration_ms execution_mode"),
    ("stop_workspace", "", _WORKSPACE),
    ("start_workspace", "", _WORKSPACE),
    ("list_workspaces", "", "count workspaces"),
    (
        "list_workspaces", "workspaces 0",
        "workspace_id name labels environment state created_at last_activity_at expires_at",
    ),
    ("list_workspaces", "workspaces 0", "command_count service_count running_service_count"),
    ("reset_workspace", "", f"{_WORKSPACE} workspace_reset"),
    ("reset_workspace", "workspace_reset", "snapshot_name kind destination"),
    ("delete_workspace", "", "workspace_id deleted reason"),
    ("exec_workspace", "", f"workspace_id sequence cwd {_RAN}"),
    ("logs_workspace", "", "workspace_id count entries"),
    (
        "logs_workspace", "entries 0",
        "sequence command cwd exit_code duration_ms execution_mode stdout stderr recorded_at",
    ),
    ("push_workspace_sync", "", "workspace_id workspace_sync"),
    ("push_workspace_sync", "workspace_sync", "mode source_path destination entry_count bytes_written"),
    ("list_workspace_files", "", "workspace_id path artifact_type recursive entries"),
    ("list_workspace_files", "entries 0", _ENTRY),
    ("read_workspace_file", "", "workspace_id path size_bytes max_bytes content truncated"),
    ("write_workspace_file", "", "workspace_id path size_bytes bytes_written"),
    ("apply_workspace_patch", "", "workspace_id changed summary entries"),
    ("apply_workspace_patch", "summary", "total added modified deleted"),
    ("apply_workspace_patch", "entries 0", "path status"),
    ("diff_workspace", "", "workspace_id changed summary entries patch"),
    ("diff_workspace", "summary", "total added modified deleted type_changed text_patched non_text"),
    ("diff_workspace", "entries 0", "path status artifact_type text_patch"),
    ("export_workspace", "", "workspace_id workspace_path output_path artifact_type entry_count bytes_written"),
    ("create_snapshot", "", "workspace_id snapshot"),
    ("create_snapshot", "snapshot", _SNAPSHOT),
    ("list_snapshots", "", "workspace_id count snapshots"),
    ("list_snapshots", "snapshots 0", _SNAPSHOT),
    ("delete_snapshot", "", "workspace_id snapshot_name deleted"),
    (
        "summarize_workspace", "",
        "workspace_id commands edits changes services artifacts snapshots outcome",
    ),
    ("summarize_workspace", "changes", "available"),
    ("summarize_workspace", "artifacts", "exports"),
    ("summarize_workspace", "snapshots", "named_count"),
    ("list_workspace_disk", "", "workspace_id path artifact_type recursive entries"),
    ("list_workspace_disk", "entries 0", _ENTRY),
    ("read_workspace_disk", "", "workspace_id path size_bytes max_bytes content truncated"),
    ("export_workspace_disk", "", "workspace_id output_path disk_format bytes_written"),
    ("open_shell", "", _SHELL),
    ("read_shell", "", f"{_SHELL} cursor next_cursor output truncated plain wait_for_idle_ms"),
    ("write_shell", "", f"{_SHELL} input_length append_newline"),
    ("signal_shell", "", f"{_SHELL} signal"),
    ("close_shell", "", f"{_SHELL} closed"),
    ("start_service", "", _SERVICE),
    ("start_service", "published_ports 0", "host host_port guest_port protocol"),
    ("status_service", "", _SERVICE),
    ("stop_service", "", _SERVICE),
    ("list_services", "", "workspace_id count running_count services"),
    ("list_services", "services 0", _SERVICE),
    ("logs_service", "", f"{_SERVICE} stdout stderr tail_lines truncated"),
    ("doctor", "", "platform runtime_ok issues kvm networking runtime daily_loop"),
    ("doctor", "kvm", "exists readable writable"),
    ("doctor", "networking", "enabled_by_default tun_available ip_forward_enabled"),
    ("doctor", "runtime", "capabilities catalog_version cache_dir environments"),
    (
        "doctor", "runtime capabilities",
        "supports_vm_boot supports_guest_exec supports_guest_network reason",
    ),
    (
        "doctor", "daily_loop",
        "environment status installed network_prepared prepared_at manifest_path reason cache_dir",
    ),
    (
        "prepare", "",
        "prepared reused environment status installed network_prepared prepared_at manifest_path reason cache_dir",
    ),
]  # fmt: skip
# What is gone, with what stands in the list of differences.
GONE = {
    "environment_version": "`environment_version` of VMs, workspaces, results",
    "tap_name": "`tap_name`",
    "mac_address": "`mac_address`",
    "metadata": "`metadata` of VMs and workspaces",
    "stdout_file": "`stdout_file`",
    "stderr_file": "`stderr_file`",
    "pid": "a service has a `pid`",
    "bundle_root": "`bundle_root`",
    "ip_binary": "`ip_binary`",
}


class Made:
    """A `Pyro` that remembers the last result of each of its methods."""

    def __init__(self, pyro: Pyro) -> None:
        self.pyro = pyro
        self.results: dict[str, Any] = {}

    def __call__(self, method: str, *given: Any, **named: Any) -> Any:
        self.results[method] = getattr(self.pyro, method)(*given, **named)
        return self.results[method]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Any]]:
    place = tmp_path_factory.mktemp("documented")
    (place / "seed").mkdir()
    (place / "seed/note.txt").write_text("hello\n")
    cache = Paths.from_environment().cache
    with Pyro(paths=Paths(cache=place / "none", state=place / "other", runtime=place / "other-run")) as other:
        pruned = other.prune_environments()
    with Pyro(paths=Paths(cache=cache, state=place / "state", runtime=place / "run")) as pyro:
        call = Made(pyro)
        call.results["prune_environments"] = pruned
        of_the_machine(call)
        of_a_vm(call)
        ws = call(
            "create_workspace", ENVIRONMENT, seed_path=place / "seed", network_policy="egress+published-ports",
            secrets=[{"name": "PIN", "value": "12345"}],
        )["workspace_id"]  # fmt: skip
        try:
            of_files(call, ws, place)
            of_shells_and_services(call, ws)
            of_a_life(call, ws, place)
        finally:
            call("delete_workspace", ws)
        yield call.results


def of_the_machine(call: Made) -> None:
    for method in ("list_environments", "demo"):
        call(method)
    for method in ("inspect_environment", "pull_environment", "prepare"):
        call(method, ENVIRONMENT)
    call("doctor", environment=ENVIRONMENT)


def of_a_vm(call: Made) -> None:
    call("run_in_vm", environment=ENVIRONMENT, command="true", timeout_seconds=60)
    vm = call("create_vm", environment=ENVIRONMENT)["vm_id"]
    for method in ("start_vm", "status_vm", "network_info_vm", "stop_vm", "delete_vm"):
        call(method, vm)
    vm = call.pyro.create_vm(ENVIRONMENT)["vm_id"]
    call.pyro.start_vm(vm)
    call("exec_vm", vm, command="true")
    call("reap_expired")


def of_files(call: Made, ws: str, place: Path) -> None:
    call("exec_workspace", ws, command="cat note.txt")
    call("status_workspace", ws)
    call("logs_workspace", ws)
    call("push_workspace_sync", ws, place / "seed", dest="copy")
    call("write_workspace_file", ws, "new.txt", text="new\n")
    call("read_workspace_file", ws, "new.txt")
    call("list_workspace_files", ws)
    call("apply_workspace_patch", ws, patch=FIX)
    call("diff_workspace", ws)
    call("export_workspace", ws, "note.txt", output_path=place / "out/note.txt")


def of_shells_and_services(call: Made, ws: str) -> None:
    shell = call("open_shell", ws)["shell_id"]
    call("write_shell", ws, shell, input="true", append_newline=True)
    call("read_shell", ws, shell, cursor=0, plain=True, wait_for_idle_ms=100)
    call("signal_shell", ws, shell, signal_name="INT")
    call("close_shell", ws, shell)
    call("start_service", ws, "web", command="sleep 600", published_ports=[{"guest_port": 8080}])
    call("status_service", ws, service_name="web")
    call("list_services", ws)
    call("logs_service", ws, service_name="web", tail_lines=5)
    call("stop_service", ws, "web")


def of_a_life(call: Made, ws: str, place: Path) -> None:
    call("update_workspace", ws, name="documented", labels={"a": "1"})
    call("list_workspaces")
    call("create_snapshot", ws, "checkpoint")
    call("list_snapshots", ws)
    call("summarize_workspace", ws)
    call("reset_workspace", ws, snapshot="checkpoint")
    call("delete_snapshot", ws, "checkpoint")
    assert call.pyro.status_workspace(ws)["guest_ip"]
    assert call("stop_workspace", ws)["guest_ip"] is None
    call("list_workspace_disk", ws)
    call("read_workspace_disk", ws, "note.txt")
    call("export_workspace_disk", ws, output_path=place / "out/disk.ext4")
    call("start_workspace", ws)


@pytest.mark.parametrize(("method", "where", "documented"), ROWS, ids=lambda text: text if len(text) < 30 else "…")
def test_a_result_has_the_documented_fields(results: dict[str, Any], method: str, where: str, documented: str) -> None:
    found: Any = results[method]
    for step in where.split():
        found = found[int(step) if step.isdigit() else step]
    assert type(found).__mro__[-2] is dict
    assert set(documented.split()) - {*found} == set()


def test_what_is_gone_is_in_the_list_of_differences(results: dict[str, Any]) -> None:
    listed = MIGRATION.read_text(encoding="utf-8")
    assert {field for field, text in GONE.items() if text not in listed} == set()
    for method, result in results.items():
        assert set(GONE) & {*(result[0] if method == "list_environments" else result)} == set(), method


def test_every_method_has_a_row() -> None:
    from pyro_mcp.operations.table import all_operations

    added = {"list_vms", "list_shells", "network_presets"}
    added |= {row.sdk for row in all_operations() if row.sdk and row.cli and row.cli[:2] == ("workspace", "network")}
    assert {row.sdk for row in all_operations()} - {method for method, *_ in ROWS} == added
