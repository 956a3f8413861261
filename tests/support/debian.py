"""A fake mmdebstrap: pulls run without a mirror, and everything else in them is real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

# It finds its own directory by its path. What it does is in the file `mode`; a line in `runs` is one run.
_SCRIPT = r"""#!/bin/sh
[ "$1" = --version ] && { echo "mmdebstrap 0.0.0"; exit; }
here=$(dirname "$0")
echo run >>"$here/runs"
suite= target=
for word; do
    case $word in
    -*) ;;
    *) if [ -z "$suite" ]; then suite=$word; elif [ -z "$target" ]; then target=$word; fi ;;
    esac
done
echo "I: running apt-get update..."
mkdir -p "$target/etc" "$target/workspace"
for name in dev proc run sys tmp; do mkdir "$target/$name"; done
echo "I: downloading packages with apt..."
echo "$suite" >"$target/etc/suite"
mode=$(cat "$here/mode")
: >"$here/started"
case $mode in
mirror)
    echo "E: Failed to fetch http://mirror.invalid/pool/git.deb  Connection failed [IP: 192.0.2.1 80]" >&2
    echo "E: mmdebstrap failed to run" >&2
    exit 100 ;;
crash) echo "E: something odd" >&2; exit 3 ;;
full) echo "dpkg: error: cannot copy: No space left on device" >&2; exit 25 ;;
hang) exec sleep 600 ;;
gate) until [ -e "$here/go" ]; do sleep 0.02; done ;;
esac
: >"$target/dev/null"
: >"$target/run/left"
mkdir "$target/tmp/.hidden"
echo "pyro-package: git_1:2.39-1"
echo "pyro-package: libc6_2.36-9"
echo "I: success in 0.1 seconds"
"""


@dataclass(frozen=True)
class FakeDebian:
    """The fake program; put `directory` first on PATH."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> FakeDebian:
        directory.mkdir()
        program = directory / "mmdebstrap"
        program.write_text(_SCRIPT)
        program.chmod(0o755)
        fake = cls(directory)
        fake.behave("ok")
        return fake

    def behave(self, mode: str) -> None:
        """Choose what the next runs do: ok, mirror, crash, full, hang, gate (waits for `open_gate`)."""
        (self.directory / "mode").write_text(mode)

    @property
    def runs(self) -> int:
        """Return how often it was run."""
        path = self.directory / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def wait_for_start(self) -> None:
        """Wait until a run has begun."""
        wait_until((self.directory / "started").exists, timeout_s=20, what="the fake mmdebstrap to start")

    def open_gate(self) -> None:
        """Release the runs that wait at the gate."""
        (self.directory / "go").touch()
