"""RubyGems and Bundler: their sources and mirrors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyro_mcp.workspace.presets.findings import Named, Reading
from pyro_mcp.workspace.presets.places import Place, matching, text_of

# rubygems/defaults.rb: `def self.default_sources`, and below it the list.
_DEFAULT = re.compile(r"""def self\.default_sources\s+(?:%w\[|\[["'])\s*(https?://[^\]"'\s]+)""")
# The index of the default source is on another host: `uri.host = "…"`.
_INDEX = re.compile(r"""uri\.host\s*=\s*["']([a-z0-9.-]+)["']""")
_DEFAULTS = "/rubygems/defaults.rb"
# Where the host is named that is asked for the index: in RubyGems, in the Bundler beside it, in Debian's Bundler.
_INDEX_FILES = (
    "{library}/rubygems/source.rb",
    "{library}/bundler/fetcher/base.rb",
    "{prefix}/share/rubygems-integration/all/gems/bundler-*/lib/bundler/fetcher/base.rb",
)
_LIBRARIES = ("vendor_ruby", "*", "site_ruby/*")
_ITEM = re.compile(r"""^\s*-\s*["']?(https?://[^"'\s]+)""")
_MIRROR = re.compile(r"""^\s*["']?BUNDLE_(MIRROR__[^\s]+?)["']?:\s+["']?(https?://[^"'\s]+)""", re.M)


def read_ruby(place: Place) -> Reading:
    """Return the sources."""
    reading = Reading(defaults=_default(place))
    files = ["/etc/gemrc", place.variables.get("GEMRC", "")]
    bundles = [place.variables.get("BUNDLE_USER_CONFIG", "")]
    for home in place.homes:
        config = place.variables.get("XDG_CONFIG_HOME") or f"{home}/.config"
        files += [f"{home}/.gemrc", f"{config}/gem/gemrc"]
        bundles += [f"{home}/.bundle/config"]
    for path in filter(None, files):
        for address in in_gemrc(text_of(place, path) or ""):
            reading.configure(address, path, replaces=True)
    for path in filter(None, bundles):
        for _, address in _MIRROR.findall(text_of(place, path) or ""):
            reading.configure(address, path)
    for name, value in place.variables.items():
        if name.startswith("BUNDLE_MIRROR__"):
            reading.configure(value, name)
    return reading


def in_gemrc(text: str) -> Iterator[str]:
    """Yield the sources in a gemrc."""
    inside = False
    for line in text.splitlines():
        if re.match(r":?sources:", line):
            inside = True
        elif inside and (found := _ITEM.match(line)):
            yield found.group(1)
        elif line.strip() and not line.lstrip().startswith("#"):
            inside = False


def _default(place: Place) -> list[Named]:
    for prefix in place.prefixes("gem"):
        for library in _LIBRARIES:
            for path in matching(place, f"{prefix}/lib/ruby/{library}{_DEFAULTS}"):
                if found := _DEFAULT.search(text_of(place, path) or ""):
                    return [Named(found.group(1), path), *_indexes(place, prefix, path.removesuffix(_DEFAULTS))]
    return []


def _indexes(place: Place, prefix: str, library: str) -> list[Named]:
    for pattern in _INDEX_FILES:
        for path in matching(place, pattern.format(prefix=prefix, library=library)):
            if hosts := _INDEX.findall(text_of(place, path) or ""):
                return [Named(f"https://{host}/", path, is_index=False) for host in dict.fromkeys(hosts)]
    return []
