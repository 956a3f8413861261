"""Watchers that an earlier version started keep working: they import `main` by its former address."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyro_mcp
from pyro_mcp.host import process

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths

# As it stands in the arguments of a running watcher.
EXPIRE = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from pyro_mcp.workspace.ws_expire import main
main(sys.argv[1:])
"""


def test_a_running_watcher_still_finds_what_it_asks(private_paths: Paths) -> None:
    home = Path(pyro_mcp.__file__).parents[1]
    places = (private_paths.cache, private_paths.state, private_paths.runtime)
    ids = ("ws_22222222222222222222", "vm_22222222222222222222")
    done = process.run([sys.executable, "-I", "-S", "-c", EXPIRE, home, *places, *ids], timeout_s=30)
    # Nothing to watch any more.
    assert done.text == "0"
