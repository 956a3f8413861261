"""Where files go, and that nobody else gets at them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths, ensure_private_dir

UID = os.geteuid()


@pytest.fixture(autouse=True)
def home_of_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(_: int) -> SimpleNamespace:
        return SimpleNamespace(pw_dir="/h")

    monkeypatch.setattr(pwd, "getpwuid", entry)


def test_the_products_own_variables_win_and_become_absolute() -> None:
    paths = Paths.from_environment(
        {
            "PYRO_ENVIRONMENT_CACHE_DIR": "/c",
            "PYRO_STATE_DIR": "relative",
            "PYRO_RUNTIME_DIR": "/r",
            "XDG_CACHE_HOME": "/no",
            "HOME": "/no",
        }
    )
    assert paths == Paths(cache=Path("/c"), state=Path.cwd() / "relative", runtime=Path("/r"))


def test_the_xdg_directories_come_next(tmp_path: Path) -> None:
    paths = Paths.from_environment(
        {"XDG_CACHE_HOME": "/xc", "XDG_STATE_HOME": "/xs", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/h"}
    )
    assert (paths.cache, paths.state) == (Path("/xc/pyro-mcp"), Path("/xs/pyro-mcp"))
    assert paths.runtime.parent == tmp_path


def test_two_state_directories_never_share_a_runtime_directory(tmp_path: Path) -> None:
    base = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/h"}
    default = Paths.from_environment(base)
    other = Paths.from_environment({**base, "PYRO_STATE_DIR": "/s"})
    third = Paths.from_environment({**base, "XDG_STATE_HOME": "/xs"})
    assert default.runtime == tmp_path / "pyro-mcp"
    assert len({default.runtime, other.runtime, third.runtime}) == 3


def test_one_state_directory_has_one_runtime_directory_whichever_variable_names_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "xs")
    named = [{"PYRO_STATE_DIR": f"{tmp_path}/{name}/pyro-mcp"} for name in ("xs", "link")]
    found = {
        Paths.from_environment({**each, "HOME": "/h"}).runtime
        for each in (*named, {"XDG_STATE_HOME": f"{tmp_path}/xs"})
    }
    assert len(found) == 1
    assert Paths.from_environment({"PYRO_STATE_DIR": "/h/.local/state/pyro-mcp", "HOME": "/x"}) == Paths(
        Path("/x/.cache/pyro-mcp"), Path("/h/.local/state/pyro-mcp"), Paths.from_environment({"HOME": "/h"}).runtime
    )


def test_a_home_directory_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert Paths.from_environment({"HOME": "/h"}) == Paths(
        Path("/h/.cache/pyro-mcp"), Path("/h/.local/state/pyro-mcp"), Path("/tmp/pyro-mcp-1234")
    )


def test_root_without_a_runtime_directory_uses_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Paths.from_environment({"HOME": "/h"}).runtime == Path("/run/pyro-mcp")


def test_relative_xdg_directories_are_ignored_as_their_specification_says() -> None:
    assert Paths.from_environment({"XDG_CACHE_HOME": "c", "HOME": "/h"}).cache == Path("/h/.cache/pyro-mcp")


def test_another_users_runtime_directory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: UID + 1)
    assert Paths.from_environment({"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/h"}).runtime == Path(
        f"/tmp/pyro-mcp-{UID + 1}"
    )


def test_a_runtime_directory_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    paths = Paths.from_environment({"XDG_RUNTIME_DIR": "/run/user/none", "HOME": "/h"})
    assert paths.runtime == Path("/tmp/pyro-mcp-1234")


def test_a_user_without_any_home_is_told_which_variables_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    with pytest.raises(PyroError) as caught:
        Paths.from_environment({})
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert "PYRO_STATE_DIR" in caught.value.hint


def test_everything_in_the_cache_shares_its_file_system_with_the_staging_directory() -> None:
    paths = Paths(Path("/c"), Path("/s"), Path("/r"))
    assert {paths.boot, paths.environments, paths.templates, paths.locks, paths.tmp} == {
        Path("/c") / name for name in ("boot", "environments", "templates", "locks", "tmp")
    }
    assert (paths.database, paths.vms, paths.workspaces) == (
        Path("/s/state.db"),
        Path("/s/vms"),
        Path("/s/workspaces"),
    )
    assert paths.runtime_vms == Path("/r/vms")


def test_a_private_directory_is_made_with_its_parents_and_closed_to_others(tmp_path: Path) -> None:
    made = ensure_private_dir(tmp_path / "Übung mit Leerzeichen" / "b")
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o027])
def test_the_umask_does_not_decide_the_mode(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        made = ensure_private_dir(tmp_path / "a")
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    assert ensure_private_dir(tmp_path / "a").stat().st_mode & 0o777 == 0o755


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(PyroError, match="is writable by other users") as caught:
        ensure_private_dir(tmp_path / "a")
    assert caught.value.code is ErrorCode.PERMISSION
    assert "chmod go-w" in caught.value.hint


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: UID + 1)
    with pytest.raises(PyroError, match="belongs to another user") as caught:
        ensure_private_dir(tmp_path / "a")
    assert caught.value.code is ErrorCode.PERMISSION


def test_a_link_of_the_users_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir(mode=0o700)
    (tmp_path / "a").symlink_to(tmp_path / "big")
    assert ensure_private_dir(tmp_path / "a") == tmp_path / "a"


def test_a_planted_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "a").symlink_to(tmp_path / "mine")
    real = os.lstat

    def planted(path: Path) -> os.stat_result:
        fields = list(real(path))
        fields[4] = UID + 1
        return os.stat_result(fields)

    monkeypatch.setattr(os, "lstat", planted)
    with pytest.raises(PyroError, match="belongs to another user"):
        ensure_private_dir(tmp_path / "a")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(PyroError, match="is not a directory"):
        ensure_private_dir(tmp_path / "a")


def test_a_directory_that_cannot_be_made_is_named_with_the_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PyroError, match="could not create the directory") as caught:
        ensure_private_dir(tmp_path / "file" / "a")
    assert "PYRO_STATE_DIR" in caught.value.hint
