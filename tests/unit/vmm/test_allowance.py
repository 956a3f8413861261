"""A caller with tight limits hears which one, before anything is started."""

from __future__ import annotations

import resource

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm import allowance

_MIB = 1024 * 1024
NONE = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    found = {
        resource.RLIMIT_NOFILE: (1024, 4096),
        resource.RLIMIT_AS: (NONE, NONE),
        resource.RLIMIT_NPROC: (90_000, 90_000),
    }
    monkeypatch.setattr(resource, "getrlimit", found.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", found.__setitem__)
    return found


def test_the_usual_limits_are_enough_and_stay(limits: dict[int, tuple[int, int]]) -> None:
    before = dict(limits)
    allowance.require_allowance(Shape())
    assert limits == before


def test_a_low_soft_limit_is_raised(limits: dict[int, tuple[int, int]]) -> None:
    limits[resource.RLIMIT_NOFILE] = (32, 4096)
    allowance.require_allowance(Shape())
    assert limits[resource.RLIMIT_NOFILE] == (allowance.FILES, 4096)


@pytest.mark.parametrize("hard", [100, 4096])
def test_the_processes_of_an_ordinary_user_are_counted(
    limits: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch, hard: int
) -> None:
    def count(_uid: int) -> int:
        return 80

    monkeypatch.setattr(allowance, "thread_count", count)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    limits[resource.RLIMIT_NPROC] = (90, hard)
    if hard == 100:
        with pytest.raises(PyroError, match="at most 100 processes and threads of this user") as caught:
            allowance.require_allowance(Shape())
        assert "ulimit -u" in caught.value.hint
    else:
        allowance.require_allowance(Shape())
        assert limits[resource.RLIMIT_NPROC] == (80 + allowance.PROCESSES, hard)


@pytest.mark.parametrize(
    ("kind", "limit", "words"),
    [
        (resource.RLIMIT_NOFILE, 32, ("32 open files", "ulimit -n")),
        (resource.RLIMIT_AS, 600 * _MIB, ("600 MiB of address space", "ulimit -v")),
    ],
)
def test_a_limit_without_room_is_named(
    limits: dict[int, tuple[int, int]], kind: int, limit: int, words: tuple[str, str]
) -> None:
    limits[kind] = (limit, limit)
    with pytest.raises(PyroError) as caught:
        allowance.require_allowance(Shape(1, 1024))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert words[0] in caught.value.message
    assert words[1] in caught.value.hint
