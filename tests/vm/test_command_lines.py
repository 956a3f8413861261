"""Commands as agents write them: what a line may say, what a command finds around it, and what it leaves running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm

ENVIRONMENT = "debian:12"
# Records and journals are smaller, disks are not.
_JOURNAL_BYTES = 4 * 1024 * 1024
BASH_LINES = (
    "set -o pipefail; ! (false | true)",
    "source /dev/null",
    "[[ a == a* ]]",
    "diff <(echo a) <(echo a)",
    "x=(1 2); [ ${x[1]} = 2 ]",
    '[ "$(echo {1..3})" = "1 2 3" ]',
    "cat <<< hi >/dev/null",
)
AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.com")


@pytest.fixture(scope="module")
def ident(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Create one workspace, of a repository, for all tests of this module."""
    seed = tmp_path_factory.mktemp("seed")
    (seed / "a").write_text("a\n")
    (seed / "src").mkdir()
    (seed / "src" / "b").write_text("b\n")
    for arguments in (["init", "-q"], ["add", "-A"], [*AUTHOR, "commit", "-qm", "first"]):
        process.run(["git", *arguments], cwd=seed, timeout_s=30)
    with Pyro() as pyro:
        ident = pyro.create_workspace(ENVIRONMENT, seed_path=seed).workspace_id
        yield ident
        pyro.delete_workspace(ident)


def output(ident: str, line: str) -> str:
    with Pyro() as pyro:
        done = pyro.exec_workspace(ident, command=line, timeout_seconds=120)
    assert done.exit_code == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_a_line_is_run_by_bash(ident: str) -> None:
    output(ident, "\n".join(f"({line}) || exit 1" for line in BASH_LINES))


def test_a_command_finds_what_a_login_sets(ident: str) -> None:
    names = ("HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG")
    found = output(ident, "; ".join(f"echo ${name}" for name in names)).splitlines()
    assert found == ["/root", "root", "root", "/bin/bash", "dumb", "C.UTF-8"]


def test_variables_and_a_directory_are_given_and_values_are_kept_nowhere(ident: str) -> None:
    line = "echo $PWD ${#TOKEN} $LANG"
    with Pyro() as pyro:
        done = pyro.exec_workspace(ident, command=line, env={"TOKEN": "hunter-2", "LANG": "C"}, cwd="src")
        assert (done.exit_code, done.stdout, done.cwd) == (0, "/workspace/src 8 C\n", "/workspace/src")
        kept = [done, pyro.logs_workspace(ident), pyro.summarize_workspace(ident)]
        assert "hunter-2" not in json.dumps(kept)
        paths = Paths.from_environment()
        files = [
            each for each in paths.workspaces.rglob("*") if each.is_file() and each.stat().st_size < _JOURNAL_BYTES
        ]
        assert files
        assert not [each for each in files if b"hunter-2" in each.read_bytes()]
        with pytest.raises(PyroError, match="the variable 'A=B' can't be set"):
            pyro.exec_workspace(ident, command="true", env={"A=B": "c"})
        with pytest.raises(PyroError, match="can't run a command in '/nowhere'"):
            pyro.exec_workspace(ident, command="true", cwd="/nowhere")


def test_a_command_runs_as_a_user_with_what_that_users_login_sets(ident: str) -> None:
    line = "id -un; id -Gn; echo $HOME $USER $SHELL; echo ok >/dev/stdout; sudo -n id -un"
    with Pyro() as pyro:
        for user in ("user", "1000"):
            done = pyro.exec_workspace(ident, command=line, user=user)
            assert done.stdout == "user\nuser\n/home/user user /bin/bash\nok\nroot\n"
        with pytest.raises(PyroError, match="the guest has no user 'nobody-here'") as caught:
            pyro.exec_workspace(ident, command="true", user="nobody-here")
    assert caught.value.details["agent_code"] == "no_such_user"


def test_limits_are_those_of_a_desktop(ident: str) -> None:
    line = "ulimit -Hn; ulimit -Sn; cat /proc/sys/fs/inotify/max_user_{watches,instances}"
    hard, soft, watches, instances = map(int, output(ident, line).split())
    assert hard >= 524288
    assert soft >= 1024
    assert watches >= 65536
    assert instances >= 128


def test_a_commit_needs_no_setup_and_takes_an_identity_that_is_set(ident: str) -> None:
    commit = "echo b >>a; git commit -qam change; git log -1 --format='%an <%ae>'"
    assert output(ident, commit) == "pyro <pyro@localhost>\n"
    assert output(ident, f"git config user.name me; {commit}") == "me <pyro@localhost>\n"


def test_python_installs_packages_and_a_user_becomes_root_without_a_password(ident: str) -> None:
    # Without pip in it, which a guest in software takes half a minute to unpack.
    output(
        ident, "python3 -m venv --without-pip /tmp/venv && /tmp/venv/bin/python -c 'import ensurepip'; command -v pip"
    )
    assert output(ident, "su user -c 'cd; pwd; id -un; sudo -n id -un'") == "/home/user\nuser\nroot\n"
    assert output(ident, "id -u user; id -un") == "1000\nroot\n"


def test_what_a_command_leaves_running_lives_on_and_a_timeout_takes_it_along(ident: str) -> None:
    with Pyro() as pyro:
        left = pyro.exec_workspace(ident, command="sleep 1000 & echo $!")
        killed = pyro.exec_workspace(ident, command="sleep 2000 & echo $!; wait", timeout_seconds=1)
    assert killed.timed_out
    output(ident, f"kill {left.stdout}")
    wait_until(
        lambda: output(ident, f"test -e /proc/{killed.stdout.strip()} || echo gone") == "gone\n",
        timeout_s=30,
        what="the command's tree to be gone",
    )
