"""The usual registry of an ecosystem whose client is installed nowhere, as the library packageurl-python names it."""

from __future__ import annotations

from typing import Any

from pyro_mcp.workspace.presets.findings import Named

SOURCE = "its ecosystem's default according to packageurl-python"
# Package types of the purl specification that stand for hosts of repositories.
_GIT_TYPES = ("github", "gitlab", "bitbucket")
# Of these the library names the site only; the index and the files are on subdomains of it.
_SITES = {"cargo", "gem"}


def known_registry(kind: str) -> list[Named]:
    """Return the registry of a package type such as `npm`; nothing if the library does not name one."""
    purl = f"pkg:{kind}/{'example/example' if kind in {'maven', 'golang'} else 'example'}@1.0.0"
    address = _address("get_download_url", purl) or _address("get_repo_url", purl)
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    if not host:
        return []
    path = "simple/" if kind == "pypi" else ""
    found = [Named(f"{scheme}://{host}/{path}", SOURCE, is_index=kind not in _SITES)]
    if kind in _SITES:
        found.append(Named(f"{scheme}://*.{host}/", SOURCE, is_index=False))
    return found


def known_git_hosts() -> list[Named]:
    """Return the hosts of repositories that have a package type of their own."""
    found = [_address("get_repo_url", f"pkg:{kind}/example/example") for kind in _GIT_TYPES]
    return [Named(address, "git hosts according to packageurl-python", is_index=False) for address in found if address]


def _address(function: str, purl: str) -> str:
    from packageurl.contrib import purl2url

    # The library has no annotations here.
    module: Any = purl2url
    found = getattr(module, function)(purl)
    return found if isinstance(found, str) else ""
