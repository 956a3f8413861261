"""Services of a guest: started, ready, listed, read and stopped, on a host and in a real guest."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession, CancelToken
from pyro_mcp.agent.services import (
    GuestServices,
    GuestServiceState,
    ReadyCommand,
    ReadyFile,
    ReadyPort,
    ServiceProblem,
    ServiceStart,
    explain_left,
)
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.protocol import services as limits
from tests.support.agents import TIMEOUT_S, run

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.contract.agent.conftest import Guest

LOOPBACK = ("127.0.0.1", "::1")


@pytest.fixture
def services(session: AgentSession) -> Generator[GuestServices]:
    using = GuestServices(session)
    yield using
    for each in using.list():
        using.stop(each.name, grace_s=0.1)


def shell(name: str, line: str, **how: object) -> ServiceStart:
    return ServiceStart(name=name, run=os.urandom(8).hex(), argv=("/bin/sh", "-c", line), cwd="/workspace", **how)  # type: ignore[arg-type]


def state_of(services: GuestServices, name: str) -> GuestServiceState:
    return next(each.state for each in services.list() if each.name == name)


def wait_for_state(services: GuestServices, name: str, state: GuestServiceState) -> None:
    wait_until(lambda: state_of(services, name) is state, timeout_s=20, what=f"{name} to be {state}")


def log_of(services: GuestServices, name: str) -> bytes:
    return services.logs(name, 0, count=limits.KEPT_BYTES).data


def test_a_service_outlives_the_session_that_started_it(guest: Guest) -> None:
    with guest.session() as session:
        started = GuestServices(session).start(shell("stays", "echo up; exec sleep 600"))
        assert started.report.state is GuestServiceState.RUNNING
    with guest.session() as session:
        using = GuestServices(session)
        assert state_of(using, "stays") is GuestServiceState.RUNNING
        wait_until(lambda: log_of(using, "stays") == b"up\n", timeout_s=TIMEOUT_S, what="the service's line")
        assert using.stop("stays", grace_s=5).state is GuestServiceState.STOPPED


def test_its_log_has_what_it_wrote_to_both_streams_and_its_end(services: GuestServices) -> None:
    services.start(shell("words", "echo out; sleep 0.3; echo err >&2; sleep 0.5; echo last; exit 3"))
    wait_for_state(services, "words", GuestServiceState.EXITED)
    assert log_of(services, "words") == b"out\nerr\nlast\n"
    (report,) = (each for each in services.list() if each.name == "words")
    assert report.exit_code == 3


def test_a_log_is_bounded_and_keeps_the_end(services: GuestServices) -> None:
    size = limits.KEPT_BYTES * 2
    services.start(shell("flood", f"head -c {size} /dev/zero | tr '\\0' x; echo end; exec sleep 600"))

    def is_done() -> bool:
        return services.logs("flood", -4, count=4).data == b"end\n"

    wait_until(is_done, timeout_s=60, what="the flood to end")
    part = services.logs("flood", 0, count=2 * limits.KEPT_BYTES)
    assert part.report.end == size + 4
    assert part.start == part.report.first > 0
    assert limits.KEPT_BYTES <= len(part.data) <= limits.KEPT_BYTES + 512 * 1024


def test_a_start_that_exits_fails_with_what_it_said(services: GuestServices) -> None:
    started = services.start(shell("dies", "echo no such luck; exit 4"))
    assert started.report.state is GuestServiceState.FAILED
    assert started.report.problem is ServiceProblem.EXITED
    assert (started.report.exit_code, started.tail) == (4, b"no such luck\n")
    assert log_of(services, "dies") == b"no such luck\n"


def test_a_command_that_is_not_there_is_refused(services: GuestServices) -> None:
    with pytest.raises(PyroError) as refusal:
        services.start(ServiceStart(name="none", run="r", argv=("no-such-program",), cwd="/workspace"))
    assert refusal.value.code is ErrorCode.NOT_FOUND
    assert "none" not in [each.name for each in services.list()]


def test_a_service_is_ready_when_its_file_is_there(session: AgentSession, services: GuestServices) -> None:
    run(session, "rm -f up.flag")
    line = "sleep 0.3; touch up.flag; exec sleep 600"
    started = services.start(shell("file", line, ready=ReadyFile("/workspace/up.flag"), timeout_s=20))
    assert started.report.state is GuestServiceState.RUNNING
    assert started.report.ready_ms >= 300


def test_a_service_is_ready_when_its_command_succeeds(services: GuestServices) -> None:
    line = "rm -f ok; sleep 0.3; touch ok; exec sleep 600"
    started = services.start(shell("command", line, ready=ReadyCommand("test -e ok"), timeout_s=20))
    assert started.report.state is GuestServiceState.RUNNING


@pytest.mark.parametrize("address", LOOPBACK)
def test_a_service_is_ready_when_its_port_takes_connections(services: GuestServices, address: str) -> None:
    family = "AF_INET6" if ":" in address else "AF_INET"
    code = (
        f"import socket, time; s = socket.create_server(({address!r}, 18431), family=socket.{family}); time.sleep(600)"
    )
    start = ServiceStart(
        name="port",
        run="r1",
        argv=("python3", "-c", code),
        cwd="/workspace",
        ready=ReadyPort(LOOPBACK, 18431),
        timeout_s=20,
    )
    assert services.start(start).report.state is GuestServiceState.RUNNING


def test_a_port_that_something_else_answers_does_not_make_a_service_ready(services: GuestServices) -> None:
    line = "import socket; s = socket.create_server(('127.0.0.1', 18577)); s.accept()[0].recv(1)"
    ready = ReadyPort(LOOPBACK, 18577)
    first = shell("first", f'exec python3 -c "{line}; s.accept()[0].recv(1); s.accept()"', ready=ready, timeout_s=30)
    assert services.start(first).report.state is GuestServiceState.RUNNING
    with pytest.raises(PyroError, match="already uses the port") as caught:
        services.start(shell("second", "sleep 600", ready=ready, timeout_s=30))
    assert caught.value.code is ErrorCode.CONFLICT
    assert "second" not in [each.name for each in services.list()]


def test_two_services_are_not_started_at_one_port_at_a_time(guest: Guest, services: GuestServices) -> None:
    ready = ReadyPort(("127.0.0.1",), 18578)
    slow = shell("slow", "until test -e go; do sleep 0.1; done; exit 1", ready=ready, timeout_s=60)
    with guest.session() as session, ThreadPoolExecutor() as pool:
        starting = pool.submit(GuestServices(session).start, slow)
        wait_until(lambda: "slow" in [each.name for each in services.list()], timeout_s=20, what="the first start")
        with pytest.raises(PyroError, match="already uses the port"):
            services.start(shell("second", "sleep 600", ready=ReadyPort(LOOPBACK, 18578), timeout_s=30))
        services.stop("slow", grace_s=0.1)
        assert starting.result().report.state is GuestServiceState.STOPPED


def test_a_file_of_an_earlier_start_does_not_make_a_service_ready(
    session: AgentSession, services: GuestServices
) -> None:
    run(session, "touch stale.flag")
    ready = ReadyFile("/workspace/stale.flag")
    stale = services.start(shell("stale", "exec sleep 600", ready=ready, timeout_s=0.5)).report
    assert (stale.problem, stale.detail[:16]) == (ServiceProblem.NOT_READY, "the file existed")
    line = "sleep 0.3; touch stale.flag; exec sleep 600"
    assert services.start(shell("fresh", line, ready=ready, timeout_s=20)).report.ready_ms >= 300


def test_a_command_that_goes_to_the_background_is_explained(services: GuestServices) -> None:
    daemon = "(setsid sleep 600 & setsid sleep 600 &) ; exit 0"
    ready = ReadyPort(LOOPBACK, 18579)
    failed = services.start(shell("daemon", daemon, ready=ready, timeout_s=30)).report
    assert (failed.problem, failed.exit_code, failed.left_running) == (ServiceProblem.EXITED, 0, 2)
    assert "left 2 processes in the background" in explain_left(failed)
    services.start(shell("later", f"sleep 0.5; {daemon}"))
    wait_for_state(services, "later", GuestServiceState.EXITED)
    assert {each.name: each.left_running for each in services.list()}["later"] == 2
    services.start(shell("brief", "sleep 0.3"))
    wait_for_state(services, "brief", GuestServiceState.EXITED)
    assert {each.name: each.left_running for each in services.list()}["brief"] == 0


# Python's own server takes seconds to start in a busy guest.
PAGES = """\
import _socket
server = _socket.socket()
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", 18432))
server.listen()
while True:
    client = _socket.socket(fileno=server._accept()[0])
    status = b"200 OK" if b"/index.html" in client.recv(1000) else b"404 Not Found"
    print(status.decode(), flush=True)
    client.sendall(b"HTTP/1.0 " + status + b"\\r\\n\\r\\n")
    client.close()
"""


def test_a_page_counts_when_its_status_is_good(services: GuestServices) -> None:
    for path, state in (("/index.html", GuestServiceState.RUNNING), ("/missing", GuestServiceState.FAILED)):
        request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        start = ServiceStart(
            name="web",
            run=os.urandom(4).hex(),
            argv=("python3", "-I", "-S", "-c", PAGES),
            cwd="/workspace",
            ready=ReadyPort(LOOPBACK, 18432, request),
            timeout_s=30 if state is GuestServiceState.RUNNING else 4,
        )
        started = services.start(start)
        assert started.report.state is state
        if state is GuestServiceState.FAILED:
            assert (started.report.problem, started.report.detail) == (
                ServiceProblem.NOT_READY,
                "it answers with HTTP 404",
            )
            assert b"404" in started.tail
        services.stop("web", grace_s=2)


def test_a_start_that_is_not_ready_in_time_is_killed(services: GuestServices) -> None:
    started = services.start(shell("never", "echo waiting; sleep 600", ready=ReadyPort(LOOPBACK, 18433), timeout_s=0.5))
    assert started.report.problem is ServiceProblem.NOT_READY
    assert started.report.detail == "connection refused"
    assert started.tail == b"waiting\n"


def test_a_name_is_taken_while_its_service_runs_and_free_afterwards(services: GuestServices) -> None:
    services.start(shell("once", "exec sleep 600"))
    with pytest.raises(PyroError) as refusal:
        services.start(shell("once", "exec sleep 600"))
    assert refusal.value.code is ErrorCode.CONFLICT
    services.stop("once", grace_s=5)
    assert services.start(shell("once", "echo again; exec sleep 600")).report.state is GuestServiceState.RUNNING
    assert log_of(services, "once") == b"again\n"


def test_stopping_asks_first_and_kills_all_of_it_then(services: GuestServices) -> None:
    services.start(shell("polite", "trap 'echo bye; exit 7' TERM; while :; do sleep 0.1; done"))
    stopped = services.stop("polite", grace_s=20)
    assert (stopped.state, stopped.exit_code) == (GuestServiceState.STOPPED, 7)
    assert log_of(services, "polite").endswith(b"bye\n")
    services.start(shell("deaf", "trap '' TERM; (trap '' TERM; exec sleep 601) & while :; do sleep 0.1; done"))
    assert services.stop("deaf", grace_s=0.3).exit_code == 137


def test_what_a_service_leaves_behind_ends_with_it(session: AgentSession, services: GuestServices) -> None:
    services.start(shell("parent", "setsid sleep 4711 & sleep 0.5; exit 0"))
    wait_for_state(services, "parent", GuestServiceState.EXITED)
    wait_until(
        lambda: (
            run(session, "ps ax -o args 2>/dev/null | grep -c '[s]leep 4711' || true").stdout.strip() in {b"0", b""}
        ),
        timeout_s=10,
        what="what was left to end",
    )


def test_whoever_goes_before_a_service_is_ready_has_started_nothing(guest: Guest) -> None:
    cancel = CancelToken()
    with guest.session() as session:
        using = GuestServices(session, cancel=cancel)
        timer = threading.Timer(0.3, cancel.cancel)
        timer.start()
        with pytest.raises(PyroError) as called_off:
            using.start(shell("hasty", "sleep 600", ready=ReadyPort(LOOPBACK, 18434), timeout_s=60))
        timer.join()
    assert called_off.value.code is ErrorCode.CANCELLED
    with guest.session() as session:
        wait_for_state(GuestServices(session), "hasty", GuestServiceState.FAILED)


def test_there_is_an_end_to_how_many_services_run(services: GuestServices) -> None:
    for number in range(limits.MAX_SERVICES):
        services.start(shell(f"many{number}", "exec sleep 600", ready=ReadyCommand("true"), timeout_s=30))
    with pytest.raises(PyroError) as refusal:
        services.start(shell("too-many", "exec sleep 600"))
    assert refusal.value.code is ErrorCode.CONFLICT
    services.stop("many0", grace_s=5)
    assert services.start(shell("one-more", "exec sleep 600")).report.state is GuestServiceState.RUNNING
