"""Shell completion knows every command and offers what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.cli.main import main
from pyro_mcp.host import process
from pyro_mcp.operations.table import all_operations

if TYPE_CHECKING:
    from pathlib import Path


def script(shell: str, capfd: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capfd.readouterr().out


def completed(text: str, *words: str) -> set[str]:
    """Return what bash offers for the last of the words."""
    line = " ".join(words)
    code = (
        f"{text}\n"
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1};"
        f" COMP_LINE='{line}'; COMP_POINT={len(line)}; COMPREPLY=();"
        " complete -p pyro > /dev/null && _shtab_pyro;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(process.run(["bash", "-c", code], timeout_s=20).text.split())


def test_bash_completes_commands_options_and_environments(capfd: pytest.CaptureFixture[str]) -> None:
    text = script("bash", capfd)
    assert {"run", "env", "vm", "mcp", "doctor", "completion"} <= completed(text, "pyro", "")
    assert completed(text, "pyro", "env", "") >= {"list", "pull", "inspect", "prune"}
    assert "--mem-mib" in completed(text, "pyro", "run", "--m")
    assert "debian:12" in completed(text, "pyro", "env", "pull", "deb")
    assert "vm-run" in completed(text, "pyro", "mcp", "serve", "--profile", "")
    assert completed(text, "pyro", "mcp", "serve", "--mode", "") >= {"repro-fix", "inspect"}
    assert completed(text, "pyro", "workspace", "") >= {"create", "file", "snapshot", "disk"}
    assert completed(text, "pyro", "workspace", "file", "") >= {"list", "read", "write"}
    assert "--id-only" in completed(text, "pyro", "workspace", "create", "debian:12", "--")


def test_bash_completes_ids_and_names_of_workspaces(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = script("bash", capfd)
    pyro = tmp_path / "pyro"
    pyro.write_text(
        '#!/bin/sh\n[ "$*" = "workspace list" ] && printf "WORKSPACE NAME STATE\\nws_a mend x\\nws_b - x\\n"\n'
    )
    pyro.chmod(0o755)
    assert completed(text, str(pyro), "workspace", "exec", "") >= {"ws_a", "mend", "ws_b"}
    assert completed(text, str(pyro), "workspace", "file", "read", "me") == {"mend"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_script_names_every_command(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capfd)
    for row in all_operations():
        assert row.cli is not None
        assert row.cli[-1] in text


def test_zsh_can_read_its_script(capfd: pytest.CaptureFixture[str]) -> None:
    assert process.run(["zsh", "-n"], input=script("zsh", capfd).encode(), timeout_s=20).returncode == 0
