"""apt: the repositories in sources.list, sources.list.d/*.list and *.sources (sources.list(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyro_mcp.workspace.presets.findings import Reading
from pyro_mcp.workspace.presets.places import Place, matching, text_of

_LINE = re.compile(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)")
_LIST = "mirror+file:"


def read_apt(place: Place) -> Reading:
    """Return the repositories. apt has no default of its own."""
    reading = Reading(replaces=True)
    for path in ("/etc/apt/sources.list", *matching(place, "/etc/apt/sources.list.d/*.list")):
        for address in _in_list(text_of(place, path) or ""):
            _add(reading, place, address, path)
    for path in matching(place, "/etc/apt/sources.list.d/*.sources"):
        for address in in_deb822(text_of(place, path) or ""):
            _add(reading, place, address, path)
    return reading


def _in_list(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if found := _LINE.match(line):
            yield found.group(1)


def in_deb822(text: str) -> Iterator[str]:
    """Yield the addresses in the enabled paragraphs of a file in deb822 format."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in {" ", "\t"}:
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() not in {"no", "false", "without", "off", "disable", "0"}:
            yield from fields.get("uris", "").split()


def _add(reading: Reading, place: Place, address: str, path: str) -> None:
    if not address.startswith(_LIST):
        reading.configure(address, path)
        return
    # A list of mirrors, one a line, with attributes after a tab (apt-transport-mirror(1)).
    listed = address.removeprefix(_LIST)
    for line in (text_of(place, listed) or "").splitlines():
        if line.strip() and not line.startswith("#"):
            reading.configure(line.split()[0], listed)
