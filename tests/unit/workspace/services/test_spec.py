"""What people say of a service is understood, or refused with a reason."""

from __future__ import annotations

import pytest

from pyro_mcp.agent.services import ReadyCommand, ReadyFile, ReadyPort
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.service import PublishedPort, Readiness, ReadinessKind
from pyro_mcp.workspace.services.spec import ServiceSpec, parse_port, parse_readiness

LOOPBACK = ("127.0.0.1", "::1")


def spec(kind: ReadinessKind, target: str) -> ServiceSpec:
    return ServiceSpec("web", "sleep 1", readiness=Readiness(kind, target))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080", PublishedPort(0, 8080)),
        ("0:8080", PublishedPort(0, 8080)),
        ("18080:8080", PublishedPort(18080, 8080)),
        ("65535:1", PublishedPort(65535, 1)),
    ],
)
def test_a_port_is_the_guests_or_both(text: str, port: PublishedPort) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "0", "65536", "8080:", ":8080", "8080:0", "1:2:3", "-1", "80 ", "٣", "99999999"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(PyroError, match="is not a port to publish") as refusal:
        parse_port(text)
    assert refusal.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("target", "hosts", "port"),
    [
        ("127.0.0.1:80", ("127.0.0.1",), 80),
        ("localhost:8080", LOOPBACK, 8080),
        ("0.0.0.0:8080", LOOPBACK, 8080),
        ("[::1]:5432", ("::1",), 5432),
        (":9000", LOOPBACK, 9000),
    ],
)
def test_an_address_is_checked_where_it_leads(target: str, hosts: tuple[str, ...], port: int) -> None:
    assert spec(ReadinessKind.TCP, target).ready() == ReadyPort(hosts, port)


@pytest.mark.parametrize(
    "target", ["localhost", "localhost:0", "localhost:x", "example.com:80", "127.0.0.1:80:90", "\0:1"]
)
def test_an_address_that_leads_nowhere_is_refused(target: str) -> None:
    with pytest.raises(PyroError) as refusal:
        spec(ReadinessKind.TCP, target).ready()
    assert refusal.value.code is ErrorCode.INVALID
    assert refusal.value.hint


def test_a_url_becomes_a_request() -> None:
    ready = spec(ReadinessKind.HTTP, "http://localhost:8080/health?deep=1#top").ready()
    assert isinstance(ready, ReadyPort)
    assert (ready.hosts, ready.port) == (LOOPBACK, 8080)
    assert ready.request.startswith("GET /health?deep=1 HTTP/1.1\r\nHost: localhost:8080\r\n")
    assert ready.request.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [("http://127.0.0.1", 80, "/"), ("http://[::1]/x", 80, "/x"), ("HTTP://127.0.0.1:81?a=b", 81, "/?a=b")],
)
def test_what_a_url_leaves_out_is_filled_in(url: str, port: int, path: str) -> None:
    ready = spec(ReadinessKind.HTTP, url).ready()
    assert isinstance(ready, ReadyPort)
    assert ready.port == port
    assert ready.request.split(" ")[1] == path


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "localhost:8080",
        "http://",
        "http:///x",
        "http://user@localhost/",
        "http://localhost/a b",
        "http://localhost/\r\nX: y",
        "http://localhost:99999/",
        "http://name.example/",
        "http://localhost/" + "x" * 4000,
    ],
)
def test_a_url_that_can_not_be_checked_is_refused(url: str) -> None:
    with pytest.raises(PyroError) as refusal:
        spec(ReadinessKind.HTTP, url).ready()
    assert refusal.value.code is ErrorCode.INVALID
    assert refusal.value.hint


def test_a_file_is_looked_for_from_the_services_own_directory() -> None:
    spec = ServiceSpec("web", "true", cwd="/srv/", readiness=Readiness(ReadinessKind.FILE, "up"))
    assert spec.ready() == ReadyFile("/srv/up")
    spec = ServiceSpec("web", "true", readiness=Readiness(ReadinessKind.FILE, "/run/up"))
    assert spec.ready() == ReadyFile("/run/up")
    assert spec.argv == ("/bin/sh", "-c", "true")


def test_a_check_is_one_of_four() -> None:
    assert parse_readiness(None) is None
    assert parse_readiness({"command": "true"}) == Readiness(ReadinessKind.COMMAND, "true")
    assert spec(ReadinessKind.COMMAND, "true").ready() == ReadyCommand("true")
    for wrong in ({"port": "80"}, {"tcp": "a:1", "file": "b"}):
        with pytest.raises(PyroError, match="is not one check of readiness"):
            parse_readiness(wrong)
    with pytest.raises(PyroError, match="says nothing"):
        spec(ReadinessKind.COMMAND, "").ready()


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a" * 64, "näme", ".."])
def test_a_name_that_would_not_do_as_a_file_is_refused(name: str) -> None:
    with pytest.raises(PyroError, match="can't be a service's name"):
        ServiceSpec(name, "true")


def test_one_port_of_the_host_leads_to_one_of_the_guest() -> None:
    with pytest.raises(PyroError, match="can't lead to two"):
        ServiceSpec("web", "true", ports=(PublishedPort(1, 2), PublishedPort(1, 3)))
    assert ServiceSpec("web", "true", ports=(PublishedPort(0, 2), PublishedPort(0, 3))).ports
    with pytest.raises(PyroError, match="are too many"):
        ServiceSpec("web", "true", ports=tuple(PublishedPort(0, each) for each in range(1, 18)))
    with pytest.raises(PyroError, match="can't run in"):
        ServiceSpec("web", "true", cwd="src")
