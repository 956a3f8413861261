"""What a list of processes shows of a value that was given on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from pyro_mcp.host import process

PROGRAM = """
import sys
from pyro_mcp.cli.collecting import blot_out
blot_out([sys.argv[2], "", "not there"])
print(open("/proc/self/cmdline").read().split("\\0")[4:], sys.argv[1:])
"""


def test_a_value_is_blotted_out_wherever_it_stands_and_the_program_still_has_it() -> None:
    words = ["--secret=A=välue-1", "välue-1", "x välue-1 y", "other"]
    source = str(Path(__file__).parents[3] / "src")
    done = process.run(
        [sys.executable, "-P", "-c", PROGRAM, *words], timeout_s=30, env={"PYTHONPATH": source, "PATH": "/"}
    )
    assert done.text.splitlines() == [f"{['--secret=A=********', '********', 'x ******** y', 'other', '']} {words}"]
