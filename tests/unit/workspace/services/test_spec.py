"""What people say of a service is understood, or refused with a reason."""

from __future__ import annotations

import pytest

from pyro_mcp.agent.services import ReadyCommand, ReadyFile, ReadyPort
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.service import PublishedPort, Readiness, ReadinessKind
from pyro_mcp.workspace.services.spec import ServiceSpec, parse_port, parse_readiness, shown_readiness

LOOPBACK = ("127.0.0.1", "::1")


def spec(kind: ReadinessKind, target: str) -> ServiceSpec:
    return ServiceSpec("web", "sleep 1", readiness=Readiness(kind, target))


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({"guest_port": 8080}, PublishedPort(0, 8080)),
        ({"guest_port": 8080, "host_port": None}, PublishedPort(0, 8080)),
        ({"guest_port": 8080, "host_port": 0}, PublishedPort(0, 8080)),
        ({"guest_port": 8080, "host_port": 18080}, PublishedPort(18080, 8080)),
        ({"guest_port": 1, "host_port": 65535}, PublishedPort(65535, 1)),
    ],
)
def test_a_port_is_the_guests_or_both(given: dict[str, int | None], port: PublishedPort) -> None:
    assert parse_port(given) == port


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"guest_port": None},
        {"guest_port": 0},
        {"guest_port": 65536},
        {"host_port": 8080},
        {"guest_port": 1, "host_port": -1},
        {"guest_port": 1, "port": 2},
    ],
)
def test_what_is_no_port_is_refused(given: dict[str, int | None]) -> None:
    with pytest.raises(PyroError, match="is not a port to publish") as refusal:
        parse_port(given)
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


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"type": "file", "path": "up"}, Readiness(ReadinessKind.FILE, "/workspace/up")),
        ({"type": "file", "path": "/run/up"}, Readiness(ReadinessKind.FILE, "/run/up")),
        ({"type": "tcp", "address": "localhost:80"}, Readiness(ReadinessKind.TCP, "localhost:80")),
        ({"type": "tcp", "host": "localhost", "port": 80}, Readiness(ReadinessKind.TCP, "localhost:80")),
        ({"type": "http", "url": "http://localhost/"}, Readiness(ReadinessKind.HTTP, "http://localhost/")),
        ({"type": "command", "command": "true"}, Readiness(ReadinessKind.COMMAND, "true")),
        (None, None),
    ],
)
def test_a_check_is_a_type_and_its_value(given: dict[str, str | int] | None, check: Readiness | None) -> None:
    assert parse_readiness(given) == check
    assert parse_readiness(shown_readiness(check)) == check


@pytest.mark.parametrize(
    "given",
    [{"type": "port", "port": 80}, {"tcp": "a:1"}, {"type": "file"}, {"type": "http", "url": "http://a", "path": "b"}],
)
def test_what_is_no_check_is_refused(given: dict[str, str | int]) -> None:
    with pytest.raises(PyroError, match="is not a readiness check"):
        parse_readiness(given)


def test_a_check_becomes_what_the_agent_takes() -> None:
    assert spec(ReadinessKind.FILE, "/run/up").ready() == ReadyFile("/run/up")
    assert spec(ReadinessKind.COMMAND, "true").ready() == ReadyCommand("true")
    assert spec(ReadinessKind.COMMAND, "true").argv == ("/bin/sh", "-c", "sleep 1")
    with pytest.raises(PyroError, match="readiness check is empty"):
        spec(ReadinessKind.COMMAND, "").ready()


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a" * 64, "näme", ".."])
def test_a_name_that_would_not_do_as_a_file_is_refused(name: str) -> None:
    with pytest.raises(PyroError, match="can't be a service's name"):
        ServiceSpec(name, "true")


def test_one_port_of_the_host_leads_to_one_of_the_guest() -> None:
    with pytest.raises(PyroError, match="can't forward to two"):
        ServiceSpec("web", "true", ports=(PublishedPort(1, 2), PublishedPort(1, 3)))
    assert ServiceSpec("web", "true", ports=(PublishedPort(0, 2), PublishedPort(0, 3))).ports
    with pytest.raises(PyroError, match="are too many"):
        ServiceSpec("web", "true", ports=tuple(PublishedPort(0, each) for each in range(1, 18)))
    with pytest.raises(PyroError, match="can't run in"):
        ServiceSpec("web", "true", cwd="src")
