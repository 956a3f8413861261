"""Lines that scripts look for in what commands print, as earlier versions documented them, with one real guest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.cli.output.status_lines import LINES
from tests.support.pyro_cli import pyro, pyro_json

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.vm
ENVIRONMENT = "debian:12-base"
FIX = "--- a/note.txt\n+++ b/note.txt\n@@ -1 +1 @@\n-hello\n+patched\n"
_N = "[0-9]+"
_IN = "execution_mode=guest_[a-z_]+"
_SHELL = f"workspace_id=WS shell_id=SH state=STATE cwd=/workspace cols=90 rows=20 {_IN}"
_SERVICE = f"workspace_id=WS service_name=web state=STATE cwd=/workspace {_IN}"
_COPY = "/workspace/copy entry_count=1 bytes_written=6"
_EXPORTED = (
    "workspace_path=/workspace/note.txt output_path=DIR/out/note.txt artifact_type=file entry_count=1 bytes_written=8"
)
_READ = f"state=running cursor=0 next_cursor={_N} truncated=no plain=yes wait_for_idle_ms=100 {_IN}"
# In this order: the words after `pyro workspace` (WS is the workspace, SH the shell, DIR a directory of this host), and
# the line on stderr, as a pattern.
LINES_OF = [
    ("exec WS -- true", f"exec] workspace_id=WS sequence={_N} cwd=/workspace {_IN} exit_code=0 duration_ms={_N}"),
    ("sync push WS DIR/seed --dest copy", f"sync] workspace_id=WS mode=directory source=DIR/seed destination={_COPY}"),
    ("file read WS note.txt", "file-read] workspace_id=WS path=/workspace/note.txt size_bytes=6 truncated=no"),
    ("file write WS new.txt --text new", "file-write] workspace_id=WS path=/workspace/new.txt bytes_written=3"),
    ("patch apply WS --patch-file DIR/fix.patch", "patch] workspace_id=WS total=1 added=0 modified=1 deleted=0"),
    ("diff WS", "diff] workspace_id=WS total=3 added=2 modified=1 deleted=0 type_changed=0 .*non_text=0.*"),
    ("export WS note.txt --output DIR/out/note.txt", f"export] workspace_id=WS {_EXPORTED}"),
    ("snapshot create WS made", f"snapshot-create] workspace_id=WS snapshot_name=made kind=named size_bytes={_N}"),
    ("snapshot delete WS made", ""),
    ("shell open WS --cols 90 --rows 20", f"shell-open] {_SHELL}"),
    ("shell write WS SH --input true", f"shell-write] {_SHELL} cursor={_N}"),
    ("shell read WS SH --plain --wait-for-idle-ms 100", f"shell-read] workspace_id=WS shell_id=SH {_READ}.*"),
    ("shell signal WS SH", f"shell-signal] {_SHELL}"),
    ("shell close WS SH", f"shell-close] {_SHELL}.*"),
    ("service start WS web -- sleep 600", f"service-start] {_SERVICE}"),
    ("service status WS web", f"service-status] {_SERVICE}"),
    ("service logs WS web", f"service-logs] {_SERVICE} log_bytes=0 truncated=no"),
    ("service stop WS web", f"service-stop] {_SERVICE}"),
    ("stop WS", ""),
    ("disk read WS note.txt", "disk-read] workspace_id=WS path=/workspace/note.txt size_bytes=8 truncated=no"),
    (
        "disk export WS --output DIR/out/disk.ext4",
        f"disk-export] workspace_id=WS output_path=DIR/out/disk.ext4 disk_format=ext4 bytes_written={_N}",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lines")
    (place / "seed").mkdir()
    (place / "seed/note.txt").write_text("hello\n")
    (place / "fix.patch").write_text(FIX)
    return place


@pytest.fixture(scope="module")
def ident(place: Path) -> Generator[str]:
    created = pyro("workspace", "create", ENVIRONMENT, "--seed-path", str(place / "seed"), "--id-only")
    assert created.returncode == 0, created.stderr
    made = created.stdout.decode().strip()
    yield made
    pyro("workspace", "delete", made)


def test_each_command_has_its_line_of_facts(ident: str, place: Path) -> None:
    known = {"WS": ident, "DIR": str(place), "SH": "sh_none", "STATE": "(running|stopped)"}
    assert "No workspace changes." in pyro("workspace", "diff", ident).stderr.decode().splitlines()
    for words, pattern in LINES_OF:
        done = pyro("workspace", *(re.sub("WS|SH|DIR", lambda name: known[name[0]], word) for word in words.split(" ")))
        assert done.returncode == 0, (words, done.stderr)
        if words.startswith("shell open"):
            known["SH"] = re.findall("shell_id=([^ ]+)", done.stderr.decode())[0]
        wanted = re.sub("WS|SH|DIR|STATE", lambda name: known[name[0]], pattern)
        lines = [line for line in done.stderr.decode().splitlines() if line.startswith("[workspace-")]
        assert len(lines) == bool(pattern), (words, lines)
        assert not pattern or re.fullmatch(rf"\[workspace-{wanted}", lines[0]), (wanted, lines[0])
    told = {pattern.partition("]")[0] for _, pattern in LINES_OF if pattern}
    assert told == {verb for verb, _ in LINES.values()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_what_a_workspace_has(shell: str) -> None:
    ident = pyro_json("workspace", "create", ENVIRONMENT, "--name", f"full-{shell}")["workspace_id"]
    try:
        opened = pyro_json("workspace", "shell", "open", ident)["shell_id"]
        pyro_json("workspace", "service", "start", ident, "web", "--", "sleep 600")
        pyro_json("workspace", "snapshot", "create", ident, "made")

        def offered(line: str) -> set[str]:
            done = pyro("__complete", shell, f"pyro workspace {line} ")
            return {re.split("[:\t]", each)[0] for each in done.stdout.decode().splitlines()}

        assert offered("status") >= {ident, f"full-{shell}"}
        assert offered(f"shell read {ident}") == {opened}
        assert offered(f"service logs {ident}") == {"web"}
        assert offered(f"snapshot delete {ident}") == {"made"}
        assert offered(f"reset {ident} --snapshot") == {"baseline", "made"}
    finally:
        pyro("workspace", "delete", ident)


def test_a_prepared_machine_says_so() -> None:
    told = pyro("prepare", ENVIRONMENT).stdout.decode().splitlines()
    assert {f"Prepare: {ENVIRONMENT}", "Daily loop: WARM"} <= set(told)
    assert any(re.fullmatch("Result: (prepared|reused) network_prepared=no", line) for line in told)
    seen = pyro("doctor", "--environment", ENVIRONMENT).stdout.decode().splitlines()
    for pattern in (
        "Platform: linux-x86_64",
        "Runtime: PASS",
        "KVM: exists=(yes|no) readable=(yes|no) writable=(yes|no)",
        "Environment cache: /.*",
        r"Catalog version: [\d.]+",
        "Capabilities: vm_boot=yes guest_exec=yes guest_network=(yes|no)",
        "Networking: tun=(yes|no) ip_forward=(yes|no)",
        rf"Daily loop: WARM \({ENVIRONMENT}\)",
    ):
        assert any(re.fullmatch(pattern, line) for line in seen), (pattern, seen)


def test_a_pull_says_what_it_installed() -> None:
    pulled = pyro("env", "pull", ENVIRONMENT).stdout.decode().splitlines()
    names = [line.partition(":")[0] for line in pulled]
    wanted = ["Pulled", "Version", "Distribution", "Installed", "Cache dir", "Default packages", "Install dir"]
    assert [name for name in names if name in wanted] == wanted
    assert {f"Pulled: {ENVIRONMENT}", "Installed: yes"} <= set(pulled)
    assert "OCI source" in names
