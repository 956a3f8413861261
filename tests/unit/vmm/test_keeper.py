"""Keepers: what they keep, what they remove, and that nothing outlives them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process.identity import tree_of
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.vmm.keeper import Limits, start_keeper, start_remover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.host.process import Child

WEIRD = [
    "with a space",
    "ünï©ødé ☃",
    "-rf",
    "--",
    "quote'quote\"",
    "$(touch pwned)",
    ";reboot",
    "*",
    "new\nline",
    "a\\b",
]


def keep(
    script: str,
    console: Path,
    *,
    ttl_s: float = 60,
    remove: Sequence[Path] = (),
    pass_fds: Sequence[int] = (),
    arguments: Sequence[str] = (),
) -> Child:
    return start_keeper(
        ["/bin/sh", "-c", script, "sh", *arguments], console=console, ttl_s=ttl_s, remove=remove, pass_fds=pass_fds
    )


class TestConsole:
    def test_the_end_of_a_flood_is_kept_and_no_more(self, tmp_path: Path) -> None:
        flood = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i $(printf %060d 0); done; echo oops >&2"
        with keep(flood, tmp_path / "console") as keeper:
            keeper.wait(60)
        text = (tmp_path / "console").read_text()
        assert len(text) == 65536
        assert "line 3000 " in text
        assert text.endswith("oops\n")

    def test_the_log_is_private_to_its_owner(self, tmp_path: Path) -> None:
        with keep("echo secret", tmp_path / "console") as keeper:
            keeper.wait(60)
        assert (tmp_path / "console").stat().st_mode & 0o777 == 0o600


class TestOwner:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_the_command_ends_with_the_process_that_owns_it(self, tmp_path: Path, number: int) -> None:
        doomed = tmp_path / "doomed"
        doomed.touch()
        code = (
            "import sys, time; from pathlib import Path; from pyro_mcp.vmm.keeper import start_keeper\n"
            "child = start_keeper(['sleep', '1000'], console=Path(sys.argv[1]), ttl_s=600, remove=[Path(sys.argv[2])],"
            " pass_fds=(), owned=True)\n"
            "print(child.pid, child.start_time, flush=True); time.sleep(1000)"
        )
        owner = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / "console", doomed], stdout=subprocess.PIPE, text=True
        )
        with owner:
            assert owner.stdout is not None
            pid, started = map(int, owner.stdout.readline().split())
            wait_until(lambda: len(tree_of(pid)) > 1, timeout_s=60, what="the command to start")
            owner.send_signal(number)
        assert process.wait_for_exit(pid, started, timeout_s=60)
        assert not tree_of(pid)
        assert not doomed.exists()

    def test_a_command_that_ends_first_takes_nobody_along(self, tmp_path: Path) -> None:
        with start_keeper(
            ["true"], console=tmp_path / "console", ttl_s=60, remove=[], pass_fds=(), owned=True
        ) as keeper:
            keeper.wait(60)


class TestRemoval:
    def test_exactly_the_given_paths_go_whatever_their_names(self, tmp_path: Path) -> None:
        doomed: list[Path] = []
        for number, name in enumerate(WEIRD):
            path = tmp_path / name
            if number % 2:
                path.mkdir()
                (path / "inside").write_bytes(b"x")
            else:
                path.write_bytes(b"x")
            doomed.append(path)
        spared = tmp_path / "spared"
        spared.mkdir()
        (spared / "file").write_bytes(b"x")
        (tmp_path / "with").write_bytes(b"the first word of a name")
        link = tmp_path / "link"
        link.symlink_to(spared)
        with keep("true", tmp_path / "console", remove=[*doomed, link]) as keeper:
            keeper.wait(60)
        assert sorted(os.listdir(tmp_path)) == ["console", "spared", "with"]
        assert (spared / "file").exists()

    @pytest.mark.parametrize("how", ["exit 0", "exit 7", "kill -KILL $$", "kill -SEGV $$"])
    def test_happens_however_the_command_ends(self, tmp_path: Path, how: str) -> None:
        (tmp_path / "doomed").write_bytes(b"x")
        with keep(how, tmp_path / "console", remove=[tmp_path / "doomed"]) as keeper:
            keeper.wait(60)
        assert not (tmp_path / "doomed").exists()

    def test_the_commands_own_arguments_are_never_taken_for_paths(self, tmp_path: Path) -> None:
        (tmp_path / "argument").write_bytes(b"x")
        with keep("true", tmp_path / "console", arguments=[str(tmp_path / "argument")]) as keeper:
            keeper.wait(60)
        assert (tmp_path / "argument").exists()

    @pytest.mark.parametrize("path", ["relative", "/", "/etc", "/tmp/../etc/x", "/tmp/./x", "//tmp/x", "/tmp/x/", ""])
    def test_a_path_that_is_not_plain_is_refused(self, path: str) -> None:
        class Text(os.PathLike[str]):
            def __fspath__(self) -> str:
                return path

        with pytest.raises(PyroError) as caught:
            start_remover([Text()], after_s=60)  # pyright: ignore[reportArgumentType]
        assert caught.value.code is ErrorCode.INVALID


class TestLimits:
    LIMITS = Limits(data_bytes=1 << 30, file_bytes=1 << 40, files=100)

    def test_are_set_for_the_command(self, tmp_path: Path) -> None:
        with start_keeper(
            ["cat", "/proc/self/limits"],
            console=tmp_path / "console",
            ttl_s=60,
            remove=(),
            pass_fds=(),
            limits=self.LIMITS,
        ) as keeper:
            keeper.wait(60)
        lines = (tmp_path / "console").read_text().splitlines()
        values = {line[:26].strip(): line[26:47].strip() for line in lines}
        assert values["Max data size"] == str(1 << 30)
        assert values["Max file size"] == str(1 << 40)
        assert (values["Max open files"], values["Max core file size"]) == ("100", "0")

    def test_are_not_the_keepers_own(self, tmp_path: Path) -> None:
        console = tmp_path / "console"
        with start_keeper(
            ["sleep", "60"], console=console, ttl_s=60, remove=(), pass_fds=(), limits=self.LIMITS
        ) as keeper:
            assert (Path(f"/proc/{keeper.pid}/limits")).read_text() == Path("/proc/self/limits").read_text()
            keeper.kill()


# As QEMU does, it prints to its console, and has a handler of its own.
VMM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("hit", flush=True))
print("up", flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


class TestFlush:
    @pytest.mark.parametrize("flush", ["echo flushed > {}", "echo flushed > {}; exec sleep 600"])
    def test_sigterm_to_all_flushes_within_a_bound_and_then_ends_the_command(self, tmp_path: Path, flush: str) -> None:
        (tmp_path / "doomed").write_bytes(b"x")
        with start_keeper(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", VMM, str(tmp_path / "up")],
            console=tmp_path / "console",
            ttl_s=60,
            remove=[tmp_path / "doomed"],
            pass_fds=(),
            flush=["/bin/sh", "-c", flush.format(shlex.quote(str(tmp_path / "a file")))],
        ) as keeper:
            wait_until((tmp_path / "up").exists, timeout_s=60, what="the command to run")
            for each in (keeper, *tree_of(keeper.pid)):
                process.send_signal(each.pid, each.start_time, signal.SIGTERM)
            keeper.wait(60)
        assert (tmp_path / "a file").read_text() == "flushed\n"
        assert (tmp_path / "console").read_text() == "up\n"
        assert not (tmp_path / "doomed").exists()


class TestTimeToLive:
    def test_the_command_is_killed_and_its_files_go_although_nobody_watches(self, tmp_path: Path) -> None:
        (tmp_path / "doomed").write_bytes(b"x")
        with keep(
            "trap '' TERM INT HUP; echo started; while :; do read x </proc/self/fd/0 || sleep 60; done",
            tmp_path / "console",
            ttl_s=1,
            remove=[tmp_path / "doomed"],
        ) as keeper:
            keeper.wait(60)
        assert not (tmp_path / "doomed").exists()
        assert (tmp_path / "console").read_text() == "started\n"

    def test_a_remover_removes_when_the_time_is_up(self, tmp_path: Path) -> None:
        (tmp_path / "doomed").mkdir()
        with start_remover([tmp_path / "doomed"], after_s=0) as remover:
            assert (tmp_path / "doomed").exists()
            remover.wait(60)
        assert not (tmp_path / "doomed").exists()

    def test_a_remover_that_is_killed_removes_nothing_and_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "doomed").mkdir()
        with start_remover([tmp_path / "doomed"], after_s=60) as remover:
            # Not setpriv any more, which becomes sleep once the death signal is set.
            wait_until(
                lambda: any(member.name == "sleep" for member in tree_of(remover.pid)),
                timeout_s=10,
                what="the remover to sleep",
            )
            process.kill(remover.pid, remover.start_time)
        assert (tmp_path / "doomed").exists()


class TestLife:
    def test_killing_the_keeper_kills_the_command(self, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"
        # As bubblewrap does with --die-with-parent, and host compat with a second setpriv.
        dying = f"exec setpriv --pdeathsig KILL sh -c 'echo $$ >{pid_file}; exec sleep 60'"
        with keep(dying, tmp_path / "console") as keeper:
            wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), timeout_s=10, what="the command")
            pid = int(pid_file.read_text())
            started = process.start_time(pid)
            assert started is not None
            process.kill(keeper.pid, keeper.start_time)
            assert process.wait_for_exit(pid, started, timeout_s=10)

    def test_is_detached_from_the_callers_terminal_and_descriptors(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        look = "ls -l /proc/self/fd | grep -c pipe: ; cat /proc/self/stat; pwd; env"
        with keep(look, tmp_path / "console") as keeper:
            assert os.getsid(keeper.pid) == keeper.pid
            assert os.getpgid(keeper.pid) == keeper.pid
            os.close(writing)
            # Nobody else holds the other end: the read ends.
            assert os.read(reading, 1) == b""
            keeper.wait(60)
        os.close(reading)
        text = (tmp_path / "console").read_text()
        assert "\n/\n" in text
        assert "HOME=" not in text

    def test_an_interrupt_of_the_callers_group_does_not_reach_it(self, tmp_path: Path) -> None:
        with keep("exec sleep 60", tmp_path / "console") as keeper:
            assert os.getpgid(keeper.pid) != os.getpgrp()
            keeper.kill()

    def test_descriptors_meant_for_the_command_reach_it(self, tmp_path: Path) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with keep('echo hello >"/proc/self/fd/$1"', tmp_path / "console", pass_fds=[writing], arguments=[str(writing)]):
            os.close(writing)
            assert os.read(reading, 100) == b"hello\n"
        os.close(reading)

    def test_a_missing_program_is_named_with_its_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pyro_mcp.host.programs.search_path", lambda: [str(tmp_path)])
        with pytest.raises(PyroError) as caught:
            keep("true", tmp_path / "console")
        assert caught.value.code is ErrorCode.MISSING_PROGRAM
        assert "setpriv" in caught.value.message
