"""Maven: its repositories and mirrors, and the one in its super POM."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import MAX_FILE_BYTES, Place, matching, text_of

_JARS = ("maven-model-builder-*.jar", "maven-impl-*.jar")
_SUPER_POM = re.compile(r"org/apache/maven/model/pom-4\.\d\.\d\.xml")
_MAX_JAR_BYTES = 16 * 1024**2
_VARIABLE = re.compile(r"\$\{env\.([^}]+)\}")
_EVERYTHING = {"*", "central", "external:*"}


def read_java(place: Place) -> Reading:
    """Return the repositories and mirrors."""
    homes = _homes(place)
    reading = Reading(defaults=_default(place, homes))
    files = ["/etc/maven/settings.xml", *(f"{home}/conf/settings.xml" for home in homes)]
    files += [f"{home}/.m2/settings.xml" for home in place.homes]
    for path in dict.fromkeys(files):
        for address, replaces in in_maven_settings(text_of(place, path) or "", place.variable):
            reading.configure(address, path, replaces=replaces)
    return reading


def in_maven_settings(text: str, variable: Callable[[str], str]) -> Iterator[tuple[str, bool]]:
    """Yield the addresses in a settings.xml, and whether they replace the central repository."""
    root = _parsed(text)
    for element in () if root is None else root.iter():
        if _tag(element) not in {"mirror", "repository", "pluginRepository"}:
            continue
        fields = {_tag(child): (child.text or "").strip() for child in element}
        address = _VARIABLE.sub(lambda match: variable(match.group(1)), fields.get("url", ""))
        covered = {part.strip() for part in fields.get("mirrorOf", "").split(",")}
        yield address, _tag(element) == "mirror" and bool(covered & _EVERYTHING)


def _homes(place: Place) -> list[str]:
    homes = [place.variables.get("MAVEN_HOME", ""), place.variables.get("M2_HOME", ""), "/usr/share/maven"]
    homes += place.prefixes("mvn")
    return [home for home in dict.fromkeys(homes) if home]


def _default(place: Place, homes: list[str]) -> list[Named]:
    for home in homes:
        for name in _JARS:
            for path in matching(place, f"{home}/lib/{name}"):
                found = in_super_pom(place.data(path, _MAX_JAR_BYTES) or b"")
                if found:
                    return [Named(address, path) for address in found]
    return []


def in_super_pom(jar: bytes) -> list[str]:
    """Return the repositories in the super POM of Maven's library."""
    try:
        with zipfile.ZipFile(io.BytesIO(jar)) as archive:
            names = [name for name in archive.namelist() if _SUPER_POM.fullmatch(name)]
            if not names:
                return []
            with archive.open(names[0]) as file:
                text = file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError):
        # A damaged archive, or one with an unsupported method or a password, names no repository.
        return []
    return list(dict.fromkeys(address for address, _ in in_maven_settings(text, lambda _: "") if address))


def _parsed(text: str) -> ET.Element | None:
    # Maven's files have no document type; without one there are no entities that could grow.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        return ET.fromstring(text)  # noqa: S314 - no document type, and a limited size
    except (ET.ParseError, ValueError, RecursionError):
        return None


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
