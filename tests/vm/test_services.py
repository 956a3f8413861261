"""Services as a user has them: a web app with its database beside it, published, fetched, and killed in every way."""

from __future__ import annotations

import http.client
import json
import shlex
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.process.identity import all_processes
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.service_records import ServiceRecords
from pyro_mcp.workspace.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.model.service import Service

ANSWERING = """
import socket
listening = socket.create_server(("127.0.0.1", 8080))
while True:
    with listening.accept()[0] as client:
        client.sendall(b"hello from the guest\\n")
"""
pytestmark = pytest.mark.vm

ENVIRONMENT = "debian:12"
# A database that speaks over TCP, and an app that keeps its visits in it.
DATABASE = """
import socketserver, sqlite3
db = sqlite3.connect("/tmp/visits.db", check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS visits (at TEXT)")
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            with db:
                db.execute("INSERT INTO visits VALUES (datetime('now'))")
            self.wfile.write(b"%d\\n" % db.execute("SELECT count(*) FROM visits").fetchone())
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 5432), Handler).serve_forever()
"""
APP = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with socket.create_connection(("127.0.0.1", 5432)) as database:
            database.sendall(b"visit\\n")
            body = b"visit number " + database.makefile("rb").readline()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    home = tmp_path_factory.mktemp("services")
    return Paths(cache=Paths.from_environment().cache, state=home / "state", runtime=home / "run")


@pytest.fixture(scope="module")
def user(paths: Paths) -> Generator[Pyro]:
    with Pyro(paths=paths) as user:
        yield user
        for each in user.list_workspaces().workspaces:
            user.delete_workspace(each.workspace_id)


@pytest.fixture
def shop(user: Pyro, paths: Paths, tmp_path: Path) -> Generator[str]:
    """Give a test a workspace with a web app and its database, both running."""
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed/database.py").write_text(DATABASE)
    (tmp_path / "seed/app.py").write_text(APP)
    ident = user.create_workspace(ENVIRONMENT, seed_path=tmp_path / "seed").workspace_id
    user.start_service(
        ident, "database", command="exec python3 database.py", readiness={"type": "tcp", "address": "127.0.0.1:5432"},
        ready_timeout_seconds=120,
    )  # fmt: skip
    user.start_service(
        ident, "web", command=["python3", "app.py"], readiness={"type": "http", "url": "http://localhost:8080/"},
        ready_timeout_seconds=120, published_ports=[{"guest_port": 8080}],
    )  # fmt: skip
    yield ident
    with suppress(PyroError):
        user.delete_workspace(ident)
    wait_until(lambda: not carriers(paths), timeout_s=10, what="what carries ports to end")


def carriers(paths: Paths) -> list[int]:
    """Return the processes that carry ports of workspaces in these directories."""
    ours = str(paths.runtime).encode()
    found: list[int] = []
    for each in all_processes():
        with suppress(OSError), open(f"/proc/{each.pid}/cmdline", "rb") as file:
            arguments = file.read()
            if b"publishing.carrier" in arguments and ours in arguments and not each.is_dead:
                found.append(each.pid)
    return found


def port_of(user: Pyro, ident: str) -> int:
    (port,) = user.status_service(ident, "web").published_ports
    assert port.host == "127.0.0.1"
    assert port.guest_port == 8080
    return port.host_port


def fetch(port: int) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def record_of(paths: Paths, ident: str) -> Service:
    with Engine(paths) as engine:
        workspace = engine.store.workspaces.get(ident)
        found = ServiceRecords(VmFiles(paths, workspace.vm_id)).find("web")
    assert found is not None
    return found


def test_a_web_app_with_a_database_is_open_on_the_hosts_loopback_alone(user: Pyro, shop: str) -> None:
    port = port_of(user, shop)
    first = int(fetch(port).split()[-1])
    assert [fetch(port) for _ in range(3)] == [f"visit number {first + step}\n" for step in (1, 2, 3)]
    listeners = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [each for each in listeners if each.endswith(f":{port:04X}") and not each.startswith("0100007F")] == []
    listed = user.list_services(shop)
    assert [(each.service_name, each.state) for each in listed.services] == [
        ("database", "running"),
        ("web", "running"),
    ]
    status = user.status_workspace(shop)
    assert (status.service_count, status.running_service_count) == (2, 2)
    assert user.list_workspaces().workspaces[0].running_service_count == 2
    assert "Services: `database` running, `web` running." in user.summarize_workspace(shop).page
    assert "GET / HTTP/1.1" in user.logs_service(shop, "web", tail_lines=3).stdout
    assert user.logs_service(shop, "web", tail_lines=1).truncated
    assert user.diff_workspace(shop).summary.total == 0


def test_stopping_closes_the_port_and_starting_again_opens_it(user: Pyro, shop: str) -> None:
    port = port_of(user, shop)
    stopped = user.stop_service(shop, "web")
    assert (stopped.state, stopped.exit_code, stopped.published_ports) == ("stopped", 143, [])
    assert is_refused(port)
    user.start_service(
        shop, "web", command=["python3", "app.py"], ready_timeout_seconds=120,
        readiness={"type": "tcp", "address": "localhost:8080"},
        published_ports=[{"guest_port": 8080, "host_port": port}],
    )  # fmt: skip
    assert fetch(port).startswith("visit number ")


def test_a_taken_port_is_refused_before_anything_starts(user: Pyro, shop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        ports = [{"guest_port": 9000, "host_port": port}]
        with pytest.raises(PyroError, match=f"the port {port} of 127.0.0.1 is in use") as refusal:
            user.start_service(shop, "other", command="sleep 60", published_ports=ports)
    assert refusal.value.code is ErrorCode.CONFLICT
    assert "other" not in [each.service_name for each in user.list_services(shop).services]


def test_a_killed_carrier_is_said_and_the_service_can_be_started_again(user: Pyro, paths: Paths, shop: str) -> None:
    port = port_of(user, shop)
    (pid,) = carriers(paths)
    process.send_signal(pid, process.start_time(pid) or 0, signal.SIGKILL)
    wait_until(lambda: is_refused(port), timeout_s=10, what="the port to be closed")
    status = user.status_service(shop, "web")
    assert (status.state, status.published_ports) == ("running", [])
    assert "no longer published" in status.problem
    user.stop_service(shop, "web")
    user.start_service(
        shop, "web", command=["python3", "app.py"], ready_timeout_seconds=120,
        readiness={"type": "tcp", "address": "localhost:8080"},
        published_ports=[{"guest_port": 8080}],
    )  # fmt: skip
    assert fetch(port_of(user, shop)).startswith("visit number ")
    assert record_of(paths, shop).publisher is not None


def test_a_killed_service_takes_its_port_along(user: Pyro, paths: Paths, shop: str) -> None:
    port = port_of(user, shop)
    user.exec_workspace(shop, command="pkill -KILL -f app.py || kill -9 $(pgrep -f app.py)")
    wait_until(lambda: is_refused(port), timeout_s=20, what="the port to be closed")
    # It closes the port first and ends after that.
    wait_until(lambda: not carriers(paths), timeout_s=10, what="the carrier to end")
    status = user.status_service(shop, "web")
    assert (status.state, status.exit_code, status.published_ports) == ("exited", 137, [])
    assert user.status_service(shop, "database").state == "running"


@pytest.mark.parametrize("stopped_carrier", [False, True])
def test_a_killed_vmm_leaves_no_port_and_no_process(user: Pyro, paths: Paths, shop: str, stopped_carrier: bool) -> None:
    port = port_of(user, shop)
    with Engine(paths) as engine:
        workspace = engine.store.workspaces.get(shop)
        machine = engine.store.vms.get(workspace.vm_id).machine
    assert machine is not None
    (pid,) = carriers(paths)
    if stopped_carrier:
        process.send_signal(pid, process.start_time(pid) or 0, signal.SIGSTOP)
    process.kill(machine.vmm_pid, machine.vmm_start_time)
    if not stopped_carrier:
        wait_until(lambda: is_refused(port), timeout_s=10, what="the port to be closed")
    assert user.status_workspace(shop).state == "stopped"
    assert carriers(paths) == []
    assert user.list_services(shop).services == []
    assert user.status_workspace(shop).service_count == 0


@pytest.mark.parametrize("verb", ["stop_workspace", "reset_workspace", "delete_workspace"])
def test_services_and_ports_end_with_the_workspaces_life(user: Pyro, paths: Paths, shop: str, verb: str) -> None:
    port = port_of(user, shop)
    getattr(user, verb)(shop)
    assert carriers(paths) == []
    assert is_refused(port)
    if verb != "delete_workspace":
        assert user.list_services(shop).services == []


def test_a_caller_killed_while_a_service_starts_leaves_nothing(
    user: Pyro, paths: Paths, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.pyro_cli import pyro

    monkeypatch.setenv("PYRO_STATE_DIR", str(paths.state))
    monkeypatch.setenv("PYRO_RUNTIME_DIR", str(paths.runtime))
    for point in ("ws_service.recorded", "ws_service.started", "ws_service.ready"):
        monkeypatch.setenv("PYRO_FAULT_POINT", f"{point}:kill")
        killed = pyro("workspace", "service", "start", shop, "late", "--publish", "9001", "--", "sleep 600")
        assert killed.returncode == -signal.SIGKILL
        wait_until(lambda: len(carriers(paths)) == 1, timeout_s=10, what="the carrier to end with its starter")
        late = {each.service_name: each for each in user.list_services(shop).services}["late"]
        assert late.published_ports == []
        assert late.state in {"failed", "running"}
        user.stop_service(shop, "late")
    monkeypatch.delenv("PYRO_FAULT_POINT")
    assert user.start_service(shop, "late", command="sleep 600").state == "running"


@pytest.mark.parametrize("policy", ["off", "egress"])
def test_ports_are_published_with_any_policy(user: Pyro, policy: str) -> None:
    ident = user.create_workspace(ENVIRONMENT, network_policy=policy).workspace_id
    web = user.start_service(
        ident, "web", command=f"exec python3 -c {shlex.quote(ANSWERING)}",
        readiness={"type": "tcp", "address": "127.0.0.1:8080"}, published_ports=[{"guest_port": 8080}],
    )  # fmt: skip
    (port,) = web.published_ports
    with socket.create_connection(("127.0.0.1", port.host_port), timeout=10) as client:
        assert client.recv(100) == b"hello from the guest\n"
    user.stop_workspace(ident)
    user.start_workspace(ident)
    assert user.list_services(ident).services == []
    user.delete_workspace(ident)


def test_a_services_secret_is_never_shown(user: Pyro) -> None:
    ident = user.create_workspace(ENVIRONMENT, secrets=[{"name": "TOKEN", "value": "hush-5up3r-s3cret"}]).workspace_id
    line = "echo the token is $API_TOKEN; sleep 0.4; echo again $API_TOKEN >&2; exec sleep 600"
    user.start_service(ident, "talker", command=line, secret_env={"TOKEN": "API_TOKEN"})
    wait_until(lambda: "again" in user.logs_service(ident, "talker").stdout, timeout_s=20, what="it to talk")
    assert user.logs_service(ident, "talker").stdout == "the token is [REDACTED]\nagain [REDACTED]\n"
    failed = user.start_service(ident, "loser", command="echo lost $T; exit 1", secret_env={"TOKEN": "T"})
    assert "hush" not in json.dumps(failed)
    assert (failed.state, failed.stop_reason, failed.exit_code) == ("failed", "process_exited_before_ready", 1)
    assert failed.last_output == "lost [REDACTED]\n"
    user.delete_workspace(ident)
