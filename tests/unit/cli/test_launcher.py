"""`pyro` as it is installed: its launcher, from the first instruction on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import __version__
from pyro_mcp.cli.main import INTERRUPTED
from tests.style.source import ROOT
from tests.support.thorough import is_thorough

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

LAUNCHER = ROOT / "scripts" / "launcher"
# A shell reports 130, too, for a process that SIGINT ended before its first instruction.
ENDED_BY_CTRL_C = {INTERRUPTED, -signal.SIGINT}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install the launcher as pip does, under a name with a space."""
    place = tmp_path / "a bin"
    place.mkdir()
    shutil.copy(LAUNCHER / "pyro", place)
    program = (LAUNCHER / "pyro-python").read_text()
    assert program.startswith("#!python\n")
    python = place / "python3"
    # A link would be a Python without this virtualenv's packages.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (place / "pyro-python").write_text(program.replace("#!python", f"#!{python}", 1))
    for each in (python, place / "pyro-python"):
        each.chmod(0o755)
    return place / "pyro"


def stdout_of(*command: str | Path, cwd: Path | None = None, path: str = os.environ["PATH"]) -> str:
    env = {**os.environ, "PATH": path}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=cwd, env=env).stdout


def test_it_finds_its_python_by_whatever_name_it_is_called(installed: Path, tmp_path: Path) -> None:
    link = tmp_path / "pyro"
    link.symlink_to(installed)
    expected = f"pyro {__version__}\n"
    assert stdout_of(installed, "--version") == expected
    assert stdout_of(link, "--version") == expected
    assert stdout_of("sh", "pyro", "--version", cwd=installed.parent) == expected
    assert stdout_of("pyro", "--version", path=f"{installed.parent}:{os.environ['PATH']}") == expected


@pytest.mark.parametrize(("stdout", "status"), [(">/dev/full", 1), (">&-", 0)])
def test_a_version_that_nobody_can_read_is_no_traceback(installed: Path, stdout: str, status: int) -> None:
    command = ["/bin/sh", "-c", f'exec "$0" --version {stdout}', installed]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_it_starts_where_env_can_not_block_signals(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "env").chmod(0o755)
    assert stdout_of(installed, "--version", path=f"{tmp_path}:{os.environ['PATH']}") == f"pyro {__version__}\n"


def test_a_ctrl_c_while_python_starts_is_kept_until_it_is_handled(installed: Path) -> None:
    def interrupt() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    command = [sys.executable, installed.parent / "pyro-python", "--version"]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60, preexec_fn=interrupt)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, b"", b"")


def test_a_background_job_of_a_shell_goes_on_ignoring_it(installed: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    begun = subprocess.Popen([installed, "--version"], stdout=subprocess.PIPE, preexec_fn=ignore)  # noqa: PLW1509
    while begun.poll() is None:
        begun.send_signal(signal.SIGINT)
        threading.Event().wait(0.001)
    assert begun.communicate()[0].decode() == f"pyro {__version__}\n"
    assert begun.returncode == 0


@pytest.mark.parametrize("after_ms", range(0, 500, 5 if is_thorough() else 40))
def test_ctrl_c_once_or_twice_at_any_moment_is_130_without_a_traceback(
    installed: Path, private_paths: Paths, after_ms: int
) -> None:
    del private_paths
    begun = subprocess.Popen([installed, "workspace", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for pause_s in (after_ms / 1000, 0.03):
        threading.Event().wait(pause_s)
        begun.send_signal(signal.SIGINT)
    _, stderr = begun.communicate(timeout=30)
    assert begun.returncode in {0, *ENDED_BY_CTRL_C}
    assert stderr in {b"", b"error: interrupted\n"}
