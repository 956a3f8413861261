"""The sources of the boot source, and the labels under which it and its kit are kept.

A label is a digest of everything that goes in, so that finding an install takes no building.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pyro_mcp.image.integrity import SHORT, digest_of

# To be raised when the same recipe is to be built, or the same parts packed, differently.
_KIT_BUILD = 1
_PACKING = 2
_PACKAGE = Path(__file__).parent.parent
_AGENT_PARTS = ("guest", "protocol")
_EMPTY_INIT = b'"""The guest\'s part of pyro-mcp: the agent and the protocol."""\n'
KIT_RECIPE = Path(__file__).with_name("data") / "boot.json"
# One option word is all that a #! line can have: isolated, no `site` module.
INIT = b"""#!/toolbox/bin/python3 -IS
from pyro_mcp.guest.main import main

main()
"""


@cache
def agent_sources() -> dict[str, bytes]:
    """Return the agent's sources by their path below the directory that the guest imports from."""
    sources = {"pyro_mcp/__init__.py": _EMPTY_INIT}
    for part in _AGENT_PARTS:
        for path in sorted((_PACKAGE / part).rglob("*.py")):
            sources[f"pyro_mcp/{path.relative_to(_PACKAGE)}"] = path.read_bytes()
    return sources


@cache
def kit_label() -> str:
    """Return the name under which the kit of the package's recipe is kept."""
    return _label(_KIT_BUILD, [KIT_RECIPE.read_bytes()])


@cache
def boot_label() -> str:
    """Return the name under which this installation's boot source is kept."""
    parts = [kit_label().encode(), INIT]
    for name, data in agent_sources().items():
        parts += [name.encode(), data]
    return _label(_PACKING, parts)


def _label(build: int, parts: list[bytes]) -> str:
    # Each part with its length, so that no two lists of parts make the same text.
    return digest_of(b"".join([b"%d;" % build, *(b"%d;%s" % (len(part), part) for part in parts)]))[:SHORT]
