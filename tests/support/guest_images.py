"""The images that guests of tests boot from, pulled into the user's own cache."""

from __future__ import annotations

import sys

from pyro_mcp.host import process

ENVIRONMENTS = ("debian:12", "debian:12-base")
TIMEOUT_S = 1800.0


def pull_images(*, quietly: bool) -> None:
    """Pull what is missing or outdated; several processes that ask for it at once share one pull.

    Raises:
        PyroError: an image can't be built.
    """
    for name in ENVIRONMENTS:
        command = [sys.executable, "-m", "pyro_mcp", "env", "pull", name]
        with process.start(command, stderr=process.DEVNULL if quietly else None) as child:
            if child.wait(TIMEOUT_S) != 0:
                sys.exit(f"the image {name} can't be pulled: run pyro env pull {name}")
