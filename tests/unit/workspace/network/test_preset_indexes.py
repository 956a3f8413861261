"""Indexes are asked for the hosts of their files: once a day, with limits; without an answer, nothing breaks."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.workspace.presets import asking
from pyro_mcp.workspace.presets.asking import Answer, Question, ask_indexes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

DAY_S = 24 * 3600.0
PIP = Question("pypi", "http://index.example.org/simple/")


@dataclass
class Web:
    """What a local server answers for whole addresses, as a proxy that sees `http://NAME/…`, and what it was asked."""

    pages: dict[str, str | int] = field(default_factory=dict[str, "str | int"])
    asked: list[str] = field(default_factory=list[str])
    stuck: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(web: Web) -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(f"{self.command} {self.path}")
            page = web.pages.get(self.path, 404)
            if page == "stuck":
                web.stuck.wait(30)
                page = 500
            if isinstance(page, int):
                self.send_response(page)
            elif page.startswith("http") and "\n" not in page:
                self.send_response(302)
                self.send_header("Location", page)
            else:
                self.send_response(200)
            body = page.encode() if isinstance(page, str) and self.command == "GET" else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            web.stuck.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Generator[Web]:
    """Yield a web of names under example.org: all requests go to it."""
    web = Web()
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(web) as address:
        monkeypatch.setenv("http_proxy", address)
        yield web


def test_the_hosts_of_a_python_indexs_files_are_those_of_its_links(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = (
        '<a href="http://files.example.org/a.whl#sha256=1">a</a>\n<a href="../../b.whl">b</a>\n'
        "<a href='http://other.example.org:8080/c.whl'>c</a>\n"
    )
    web.pages["http://other.example.org:8080/c.whl"] = "http://storage.example.org/c.whl"
    web.pages["http://storage.example.org/c.whl"] = "\n"

    answers = ask_indexes(tmp_path, [PIP], 1000.0)

    assert sorted(answers[PIP].hosts) == ["files.example.org", "other.example.org:8080", "storage.example.org"]
    assert answers[PIP].failure == ""
    assert web.asked[-1] == "HEAD http://storage.example.org/c.whl"


def test_a_python_index_in_json_names_hosts_too(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = json.dumps(
        {"files": [{"url": "http://files.example.org/a.whl"}, {"url": "http://169.254.169.254/x"}]}, indent=1
    )

    assert ask_indexes(tmp_path, [PIP], 0.0)[PIP].hosts == ("files.example.org",)


def test_npm_cargo_and_go_are_asked_in_their_own_ways(tmp_path: Path, web: Web) -> None:
    npm = Question("npm", "http://npm.example.org/")
    cargo = Question("cargo", "http://cargo.example.org/index")
    go = Question("golang", "http://go.example.org", "example.org/x/@v/v1.0.0.zip")
    web.pages |= {
        "http://npm.example.org/npm/latest": '{"dist":\n {"tarball": "http://tar.example.org/npm.tgz"}}',
        "http://cargo.example.org/index/config.json": '{"dl":\n "http://dl.example.org/{crate}", "api": "http://a.example.org"}',
        "http://go.example.org/example.org/x/@v/v1.0.0.zip": "http://zip.example.org/x.zip",
        "http://zip.example.org/x.zip": "\n",
    }

    answers = ask_indexes(tmp_path, [npm, cargo, go], 0.0)

    assert answers == {
        npm: Answer(("tar.example.org",)),
        cargo: Answer(("dl.example.org", "a.example.org")),
        go: Answer(("zip.example.org",)),
    }


def test_an_answer_counts_for_a_day(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = '"url":\n"http://files.example.org/a.whl"'
    first = ask_indexes(tmp_path, [PIP], 1000.0)
    asked = len(web.asked)

    assert ask_indexes(tmp_path, [PIP], 1000.0 + DAY_S - 1) == first
    assert len(web.asked) == asked

    ask_indexes(tmp_path, [PIP], 1000.0 + DAY_S)
    assert len(web.asked) > asked


def test_a_clock_that_was_set_back_asks_again(tmp_path: Path, web: Web) -> None:
    ask_indexes(tmp_path, [PIP], 10 * DAY_S)
    asked = len(web.asked)

    ask_indexes(tmp_path, [PIP], DAY_S)
    assert len(web.asked) > asked


def test_a_failure_is_told_and_leaves_the_earlier_hosts(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = '"url":\n"http://files.example.org/a.whl"'
    ask_indexes(tmp_path, [PIP], 0.0)
    web.pages["http://index.example.org/simple/pip/"] = 401

    later = ask_indexes(tmp_path, [PIP], DAY_S)

    assert later[PIP] == Answer(("files.example.org",), "it answers with HTTP status 401")
    asked = len(web.asked)
    assert ask_indexes(tmp_path, [PIP], DAY_S + 60) == later
    assert len(web.asked) == asked


def test_no_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    assert ask_indexes(tmp_path, [PIP], 0.0)[PIP] == Answer((), "Connection refused")


def test_an_index_that_says_nothing_is_waited_for_a_moment(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = "stuck"

    assert ask_indexes(tmp_path, [PIP], 0.0, timeout_s=0.2)[PIP] == Answer((), "it gave no answer in time")

    web.stuck.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ask "):
            thread.join(10)


def test_an_index_may_name_names_alone(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = "\n".join(
        f'href="http://{host}/"'
        for host in ("10.0.0.1", "localhost", "[2001:db8::1]", "*.example.org", "192.0.2.1:80", "files.example.org")
    )

    assert ask_indexes(tmp_path, [PIP], 0.0)[PIP].hosts == ("files.example.org",)


def test_a_redirection_into_the_host_is_not_followed(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = "http://169.254.169.254/latest"

    answer = ask_indexes(tmp_path, [PIP], 0.0)[PIP]

    assert answer == Answer((), "it leads to an address that is not a public name")
    assert web.asked == ["GET http://index.example.org/simple/pip/"]


def test_an_endless_answer_ends_at_a_limit(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = "\n" + "x" * 5_000_000 + '"url": "http://late.example.org/"'

    assert ask_indexes(tmp_path, [PIP], 0.0)[PIP] == Answer()


def test_a_damaged_cache_file_is_no_answer(tmp_path: Path, web: Web) -> None:
    web.pages["http://index.example.org/simple/pip/"] = '"url":\n"http://files.example.org/a.whl"'
    for entry in (
        5,
        {"at": "x"},
        {"at": 0, "hosts": "y", "failure": ""},
        {"at": 0, "hosts": ["*.org"], "failure": "x"},
    ):
        (tmp_path / asking.FILE_NAME).write_text(json.dumps({PIP.key: entry}))
        assert ask_indexes(tmp_path, [PIP], 700.0)[PIP] == Answer(("files.example.org",))
