"""Benchmark shells, services, published ports and secret redaction in a workspace, through the SDK."""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Stopwatch
from pyro_mcp import Pyro

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths

_MIB = 1024 * 1024
_PORT = 8000
_SECRET = {"name": "TOKEN", "value": "correct-horse-battery-staple"}
_REQUESTS = 600
_DOWNLOAD_BYTES = 64 * _MIB
_FLOOD_MIB = 32
# A minimal server with persistent connections: the connection to it is what is measured.
_SERVER = f"""
import socket, threading
def serve(connection):
    with connection:
        while request := connection.recv(65536):
            if b"GET /large" in request:
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: {_DOWNLOAD_BYTES}\\r\\n\\r\\n")
                for _ in range({_DOWNLOAD_BYTES // _MIB}):
                    connection.sendall(bytes({_MIB}))
            else:
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
listener = socket.create_server(("127.0.0.1", {_PORT}))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
_FLOOD = ["sh", "-c", f"yes 'nothing to hide in this line of text' | head -c {_FLOOD_MIB * _MIB}"]
_GIT_DAEMON = ["git", "daemon", "--listen=127.0.0.1", "--port=9418", "--base-path=/workspace"]


def rows(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure a workspace with a network, a shell, services and secrets."""
    pyro = Pyro(paths=paths)
    with ExitStack() as stack:
        plain_id = pyro.create_workspace(environment, network_policy="egress+published-ports").workspace_id
        stack.callback(pyro.delete_workspace, plain_id)
        secret_id = pyro.create_workspace(environment, secrets=[_SECRET]).workspace_id
        stack.callback(pyro.delete_workspace, secret_id)
        return [
            *_shells(pyro, plain_id, times=times),
            *_services(pyro, plain_id, times=times),
            *_port(pyro, plain_id),
            *_redaction(pyro, plain_id, secret_id),
        ]


def _shells(pyro: Pyro, workspace_id: str, *, times: int) -> list[Row]:
    opened, echoed = Stopwatch(), Stopwatch()
    for _ in range(times + 1):
        with opened.time():
            shell_id = pyro.open_shell(workspace_id).shell_id
            cursor = _read_until(pyro, workspace_id, shell_id, 0, "# ")
        for number in range(3):
            word = f"word{number}"
            with echoed.time():
                pyro.write_shell(workspace_id, shell_id, input=word, append_newline=False)
                cursor = _read_until(pyro, workspace_id, shell_id, cursor, word)
        pyro.close_shell(workspace_id, shell_id)
    del opened.samples[0], echoed.samples[:3]
    return [
        opened.row("shell: open → prompt read", target="≤ 250 ms"),
        echoed.row("shell: write → echo read", target="≤ 20 ms"),
    ]


def _read_until(pyro: Pyro, workspace_id: str, shell_id: str, cursor: int, wanted: str) -> int:
    seen = ""
    while wanted not in seen:
        read = pyro.read_shell(workspace_id, shell_id, cursor=cursor, wait_for_idle_ms=1)
        seen, cursor = seen + read.output, read.next_cursor
    return cursor


def _services(pyro: Pyro, workspace_id: str, *, times: int) -> list[Row]:
    ready = Stopwatch()
    check = {"type": "tcp", "address": "127.0.0.1:9418"}
    for _ in range(times + 1):
        with ready.time():
            pyro.start_service(workspace_id, "git", command=_GIT_DAEMON, readiness=check)
        pyro.stop_service(workspace_id, "git")
    del ready.samples[0]
    return [ready.row("service: start → ready over TCP (git daemon)", target="≤ 350 ms")]


def _port(pyro: Pyro, workspace_id: str) -> list[Row]:
    started = pyro.start_service(
        workspace_id,
        "web",
        command=["python3", "-c", _SERVER],
        readiness={"type": "tcp", "address": f"127.0.0.1:{_PORT}"},
        published_ports=[{"guest_port": _PORT}],
    )
    connection = http.client.HTTPConnection("127.0.0.1", started.published_ports[0].host_port, timeout=60)
    each = Stopwatch()
    for _ in range(_REQUESTS):
        with each.time():
            _get(connection, "/")
    rate = 1000 * len(each.samples) / sum(each.samples)
    downloads: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        _get(connection, "/large")
        downloads.append(_DOWNLOAD_BYTES / 1e6 / (time.perf_counter() - began))
    connection.close()
    pyro.stop_service(workspace_id, "web")
    return [
        each.row("published port: one small request after another", target="p95 ≤ 15 ms"),
        Row("published port: requests on one connection", (rate,), "/s", "≥ 300 /s"),
        Row("published port: download", tuple(downloads), "MB/s", "≥ 40 MB/s"),
    ]


def _get(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    response = connection.getresponse()
    while response.read(_MIB):
        continue


def _redaction(pyro: Pyro, plain_id: str, secret_id: str) -> list[Row]:
    """Compare the same flood of output without a secret and with one."""
    took: dict[str, list[float]] = {plain_id: [], secret_id: []}
    for _ in range(4):
        for workspace_id, seconds in took.items():
            began = time.perf_counter()
            pyro.exec_workspace(workspace_id, command=_FLOOD, timeout_seconds=60)
            seconds.append(time.perf_counter() - began)
    costs = tuple(
        (hidden / plain - 1) * 100 for plain, hidden in zip(took[plain_id][1:], took[secret_id][1:], strict=True)
    )
    return [Row(f"secrets: what hiding them adds to {_FLOOD_MIB} MiB of output", costs, "%", "≤ 10 %")]
