"""The inputs of the boot source, and the labels of the boot source and its kit.

A label is a digest of all inputs, so that an install can be found without building it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pyro_mcp.image.integrity import SHORT, digest_of

# Increase these when the way to build a recipe, or to pack its parts, changes.
_KIT_BUILD = 1
_PACKING = 2
_PACKAGE = Path(__file__).parent.parent
_AGENT_PARTS = ("guest", "protocol")
_EMPTY_INIT = b'"""The guest\'s part of pyro-mcp: the agent and the protocol."""\n'
KIT_RECIPE = Path(__file__).with_name("data") / "boot.json"
# A #! line can have only one argument. Isolated mode, without the `site` module.
INIT = b"""#!/toolbox/bin/python3 -IS
from pyro_mcp.guest.main import main

main()
"""


@cache
def agent_sources() -> dict[str, bytes]:
    """Return the agent's sources by path, relative to the directory that the guest imports from."""
    sources = {"pyro_mcp/__init__.py": _EMPTY_INIT}
    for part in _AGENT_PARTS:
        for path in sorted((_PACKAGE / part).rglob("*.py")):
            sources[f"pyro_mcp/{path.relative_to(_PACKAGE)}"] = path.read_bytes()
    return sources


@cache
def kit_label() -> str:
    """Return the label of the kit of the package's recipe."""
    return _label(_KIT_BUILD, [KIT_RECIPE.read_bytes()])


@cache
def boot_label() -> str:
    """Return the label of this installation's boot source."""
    parts = [kit_label().encode(), INIT]
    for name, data in agent_sources().items():
        parts += [name.encode(), data]
    return _label(_PACKING, parts)


def _label(build: int, parts: list[bytes]) -> str:
    # Each part is preceded by its length, so that different lists of parts give different bytes.
    return digest_of(b"".join([b"%d;" % build, *(b"%d;%s" % (len(part), part) for part in parts)]))[:SHORT]
