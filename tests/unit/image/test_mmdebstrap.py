"""What mmdebstrap is told, what is made of its output, and what its failures are called."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.image.mmdebstrap import Bootstrap, Result, bootstrap
from pyro_mcp.image.namespace import Namespace

if TYPE_CHECKING:
    from pathlib import Path

SPEC = Bootstrap("bookworm", "minbase", ("git", "curl"), ('APT::X "y"',), ("force-unsafe-io",), "true")
DIRECT = Namespace((), mapped=False)


@dataclass
class Told:
    """Progress that remembers."""

    phases: list[str] = field(default_factory=list[str])
    fractions: list[float] = field(default_factory=list[float])
    messages: list[str] = field(default_factory=list[str])

    def phase(self, name: str, message: str = "") -> None:
        self.phases.append(name)
        self.messages.append(message)

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        if fraction is not None:
            self.fractions.append(fraction)
        self.messages.append(message)


def run_with(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, spec: Bootstrap = SPEC) -> Result:
    """Run with a mmdebstrap that prints its arguments to the file `args` and then does what `script` says."""
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    answer = '[ "$1" = --version ] && echo "mmdebstrap 1.3.5" && exit'
    program.write_text(f'#!/bin/sh\n{answer}\nprintf "%s\\n" "$@" >{tmp_path}/args\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return bootstrap(DIRECT, spec, tmp_path / "tree", Told())


def arguments(tmp_path: Path) -> list[str]:
    return (tmp_path / "args").read_text().splitlines()


def test_the_command_names_what_goes_in_and_no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYRO_DEBIAN_MIRROR", raising=False)

    run_with("exit 0", tmp_path, monkeypatch)

    given = arguments(tmp_path)
    assert {"--variant=minbase", "--include=git,curl", '--aptopt=APT::X "y"', "--dpkgopt=force-unsafe-io"} <= set(given)
    assert "--customize-hook=true" in given
    assert given[-2:] == ["bookworm", str(tmp_path / "tree")]
    assert not any("://" in argument for argument in given)


def test_a_mirror_of_the_users_own_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_DEBIAN_MIRROR", "http://mirror.invalid/debian")

    run_with("exit 0", tmp_path, monkeypatch)

    assert arguments(tmp_path)[-1] == "http://mirror.invalid/debian"


def test_packages_and_versions_are_read_from_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_with(
        'echo "pyro-package: zlib1g_1:1.2.13"; echo "I: done"; echo "pyro-package: git_1%3a2.39-1"',
        tmp_path,
        monkeypatch,
    )

    assert result == Result({"git": "1:2.39-1", "zlib1g": "1:1.2.13"}, "1.3.5")


def test_steps_become_phases_with_growing_fractions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr("tests.unit.image.test_mmdebstrap.Told", lambda: told)
    lines = [
        "running apt-get update...",
        "downloading packages with apt...",
        "extracting archives...",
        "installing essential packages...",
        "installing remaining packages inside the chroot...",
        "cleaning package lists and apt cache...",
    ]

    run_with("\n".join(f'echo "I: {line}" >&2' for line in lines), tmp_path, monkeypatch)

    assert told.phases == ["update", "download", "extract", "install", "install", "clean"]
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] < 1
    assert "running apt-get update" in told.messages


@pytest.mark.parametrize(
    ("said", "code", "says", "hint"),
    [
        ("E: Could not resolve 'mirror.invalid'", ErrorCode.UNAVAILABLE, "can't be reached", "PYRO_DEBIAN_MIRROR"),
        (
            "Err:1 http://mirror.invalid  404  Not Found",
            ErrorCode.UNAVAILABLE,
            "can't be reached",
            "PYRO_DEBIAN_MIRROR",
        ),
        ("E: Failed to fetch x  Hash Sum mismatch", ErrorCode.UNAVAILABLE, "damaged or changing file", "Try again"),
        ("E: Unable to locate package git", ErrorCode.UNAVAILABLE, "lacks a package", "try again"),
        ("W: GPG error: NO_PUBKEY 0E98404D386FA1D9", ErrorCode.UNSUPPORTED, "keys", "debian-archive-keyring"),
        ("E: Write error - write (28: No space left on device)", ErrorCode.NO_SPACE, "disk is full", "Free"),
        ("E: You don't have enough free space in /x", ErrorCode.NO_SPACE, "disk is full", "Free"),
        ("E: you are the wrong moon", ErrorCode.BUILD_FAILED, "exit status 9: E: you are the wrong moon", "again"),
    ],
)
def test_a_failure_is_told_with_its_cause_and_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: ErrorCode, says: str, hint: str
) -> None:
    with pytest.raises(PyroError) as caught:
        run_with(f'echo "I: running apt-get update..." >&2; echo "{said}" >&2; exit 9', tmp_path, monkeypatch)

    assert caught.value.code is code
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert said in str(caught.value.details["tail"])


def test_a_failure_without_a_word_is_still_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PyroError, match="ended with signal 9: it said nothing"):
        run_with("kill -9 $$", tmp_path, monkeypatch)


def test_the_hook_is_a_script_that_a_shell_can_read() -> None:
    from pyro_mcp.image.catalog import load_catalog

    for environment in load_catalog().environments:
        process.run(["sh", "-n"], input=environment.recipe.hook.encode(), timeout_s=10)


def test_what_a_killed_build_leaves_in_its_temporary_directory_goes_with_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo mmdebstrap 1\n'
        'mkdir "$TMPDIR/mmdebstrap.gpghome.x" && echo "$TMPDIR" > "$0.tmp" && kill -9 $$\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    with pytest.raises(PyroError):
        bootstrap(DIRECT, Bootstrap("suite", "minbase", ()), tmp_path / "tree", Told())
    assert (tool.parent / "mmdebstrap.tmp").read_text() == f"{tmp_path}/tmp\n"
    assert sorted(os.listdir(tmp_path)) == ["bin"]
