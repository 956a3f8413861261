"""Shell completion knows every command and offers what there is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from pyro_mcp.cli.main import main
from pyro_mcp.host import process
from pyro_mcp.operations.table import all_operations

Capture = pytest.CaptureFixture[str]
BARE = {"PYTHONPATH": str(Path(__file__).parents[3] / "src"), "PATH": "/usr/bin:/bin", "HOME": "/"}


def offered(line: str, capfd: Capture, shell: str = "bash") -> set[str]:
    capfd.readouterr()
    assert main(["__complete", shell, line]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    return set(captured.out.split("\n")) - {""}


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("pyro ", {"run", "env", "workspace", "ws", "images", "ps", "stats", "cp", "mcp", "doctor", "completion"}),
        ("pyro wo", {"workspace"}),
        ("pyro env ", {"list", "ls", "pull", "inspect", "prune"}),
        ("pyro ws ", {"create", "ls", "rm", "top", "file", "snapshot", "disk"}),
        ("pyro workspace file ", {"list", "read", "write", "ls"}),
        ("/usr/bin/pyro run debian:12 --m", {"--mem-mib", "--memory"}),
        ("pyro ws exec x --t", {"--tty", "--timeout", "--timeout-seconds"}),
        ("pyro env pull debian:12-b", {"12-base", "12-build"}),
        ("pyro env pull deb", {"debian:12", "debian:13"}),
        ("pyro mcp serve --profile ", {"vm-run", "workspace-core"}),
        ("pyro mcp serve --mode r", {"repro-fix", "review-eval"}),
        ("pyro ws create debian:12 --network-policy ", {"off", "packages", "allow", "egress"}),
        ("pyro ws network set x --network-policy p", {"packages"}),
        ("pyro ws network ", {"show", "set", "allow", "deny", "log"}),
        ("pyro mcp serve --network-policy ", {"off", "packages", "allow", "egress"}),
        ("pyro completion ", {"bash", "zsh", "fish"}),
        ("pyro ws sync push x ", {":files"}),
        ("pyro ws file write x y --text-file ", {":files"}),
        ("pyro run debian:12 -- ", {":files"}),
    ],
)
@pytest.mark.usefixtures("private_paths")
def test_what_is_known_without_a_guest_is_offered(line: str, some: set[str], capfd: Capture) -> None:
    found = offered(line, capfd)
    assert found >= some
    current = line.rpartition(" ")[2].rpartition(":")[2]
    assert all(each.startswith(current) for each in found)


@pytest.mark.usefixtures("private_paths")
def test_every_command_is_offered(capfd: Capture) -> None:
    for row in all_operations():
        above, word = (row.cli or ())[:-1], (row.cli or ("",))[-1]
        assert word in offered(" ".join(["pyro", *above, ""]), capfd)


def test_names_of_what_is_stored_are_offered(on_host: str, capfd: Capture) -> None:
    ident = on_host
    assert offered("pyro ws exec ", capfd) == {"mend", ident}
    assert offered("pyro ws stop me", capfd) == {"mend"}
    assert offered("pyro ws rm mend ", capfd) == {"mend", ident}
    assert offered("pyro ws reset mend --snapshot ", capfd) == {"baseline"}
    assert offered("pyro ws snapshot delete mend ", capfd) == set()
    assert offered("pyro cp ", capfd) == {"mend:", f"{ident}:", ":files"}
    assert offered("pyro ws status nobody ", capfd) == set()
    assert "mend:started, debian:12" in offered("pyro ws exec ", capfd, "zsh")
    assert "mend\tstarted, debian:12" in offered("pyro ws exec ", capfd, "fish")


@pytest.mark.usefixtures("private_paths")
def test_bash_puts_in_what_pyro_offers(capfd: Capture) -> None:
    assert main(["completion", "bash"]) == 0
    script = capfd.readouterr().out
    line = "pyro env in"
    code = (
        f'pyro() {{ {shlex.quote(sys.executable)} -m pyro_mcp "$@"; }}\n{script}\n'
        f"COMP_WORDS=({line}); COMP_CWORD=2; COMP_LINE={line!r}; COMP_POINT={len(line)};"
        ' _pyro; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = process.run(["bash", "-c", code], timeout_s=20, env=BARE)
    assert done.text.split() == ["inspect"]


def test_fish_offers_what_pyro_offers_with_a_description(tmp_path: Path) -> None:
    launcher = tmp_path / "pyro"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pyro_mcp "$@"\n')
    launcher.chmod(0o755)
    own = {**BARE, "PATH": f"{tmp_path}:{BARE['PATH']}", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    process.run([launcher, "completion", "fish", "--install"], timeout_s=20, env=own)
    done = process.run(["fish", "-c", "complete -C 'pyro env in'"], timeout_s=20, env=own)
    assert done.text.startswith("inspect\tShow ")


def test_zsh_can_read_its_script(capfd: Capture) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capfd.readouterr().out.encode()
    assert process.run(["zsh", "-n"], input=script, timeout_s=20).returncode == 0


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", "data/bash-completion/completions/pyro"),
        ("zsh", "data/zsh/site-functions/_pyro"),
        ("fish", "config/fish/completions/pyro.fish"),
    ],
)
def test_a_script_is_installed_where_the_shell_looks_for_it(
    shell: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    assert main(["completion"]) == 0
    script = capfd.readouterr().out
    assert main(["completion", "--install"]) == 0
    assert (tmp_path / place).read_text() == script
    assert str(tmp_path / place) in capfd.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert main(["completion"]) == 2


def test_an_offer_loads_neither_the_sdk_nor_pydantic() -> None:
    code = (
        "import sys; from pyro_mcp.cli.main import main; main(['__complete', 'bash', 'pyro ws exec x --']);"
        "assert not {'pyro_mcp.sdk', 'pydantic', 'mcp', 'anyio'} & set(sys.modules), sys.modules"
    )
    done = process.run([sys.executable, "-c", code], timeout_s=20, env=BARE)
    assert b"--timeout" in done.stdout
