"""Run the commands of `pyro host`."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from shutil import which
from typing import Any, cast

from pyro_mcp.cli.builtins.builtin import SERVE, ServeRequest
from pyro_mcp.cli.parsing import Parsed, parse
from pyro_mcp.cli.streams import put, put_json
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.hosts.checkup import Checkup, check
from pyro_mcp.hosts.files import edit
from pyro_mcp.hosts.host import Host, Scope
from pyro_mcp.hosts.known import HOSTS, config_of, find_host
from pyro_mcp.operations.fields import parameters
from pyro_mcp.operations.host_access import current_checkout
from pyro_mcp.operations.profiles import find_profile
from pyro_mcp.operations.project import described, find_project
from pyro_mcp.operations.trust import absolute_ca_files, certificates_given

_UVX = ("uvx", "--from", "pyro-mcp>=5", "pyro")
_UVX_TIMEOUT_S = 120
# Options of the entry and not of the server.
_FAILED = 1


def connect(*, parsed: Parsed, host: str, scope: str | None, approve: bool, ask: bool, **_: object) -> int:
    """Write an entry; return the exit status."""
    if approve and ask:
        raise UsageError("--approve and --ask can't be had together", hint="Give one of the two.")
    found = find_host(host)
    chosen = found.scope_of(scope)
    certificates_given(parsed.request.ca_file)
    return _write(parsed, found, chosen, server_command(parsed.request), approve=not ask)


def repair(*, parsed: Parsed, host: str, scope: str | None, approve: bool, ask: bool, **_: object) -> int:
    """Write an entry where there is one, with its options; return the exit status."""
    found = find_host(host)
    held = next(iter(found.entries()), None) if scope is None else found.entry_of(found.scope_of(scope))
    chosen = found.scope_of(scope if scope is not None or held is None else held.place.scope)
    given = parsed.request
    if held is not None and not _serve_words(given):
        given = _held_request(held.command, given)
    keeps = held is not None and not held.approves and not approve
    return _write(parsed, found, chosen, server_command(given), approve=not (ask or keeps))


def disconnect(*, parsed: Parsed, host: str, scope: str | None) -> int:
    """Remove an entry; return the exit status."""
    found = find_host(host)
    chosen = found.scope_of(scope)
    changed = found.disconnect(chosen)
    document = {"host": found.name, "scope": chosen, "changed": [str(path) for path in changed]}
    if parsed.json:
        put_json(document)
    else:
        put(
            f"removed pyro from {_paths(changed)}"
            if changed
            else f"{found.title} has no entry for pyro there: unchanged"
        )
    return 0


def print_config(*, parsed: Parsed, host: str, output: str | None, **_: object) -> int:
    """Print a configuration, or write it to a new file; return the exit status."""
    command = server_command(parsed.request)
    text, place = config_of(host, command)
    document: dict[str, object] = {"host": host, "server_command": command}
    if output is None:
        document |= {"rendered_config": text, "config_path": place}
        shown = text.removesuffix("\n")
    else:
        path = Path(output).expanduser().absolute()
        if path.exists():
            raise PyroError(ErrorCode.CONFLICT, f"{path} already exists", hint="Name a new file.")
        edit(path, lambda _before: text)
        document["output_path"] = str(path)
        shown = f"wrote {path}; it belongs in {place}"
    if parsed.json:
        put_json(document)
    else:
        put(shown)
    return 0


def doctor(*, parsed: Parsed, host: str | None) -> int:
    """Check hosts; return the exit status."""
    found = [check(find_host(name)) for name in ([host] if host else HOSTS)]
    for each in found:
        if each.answered_ms is not None:
            held = _held_request(each.command, ServeRequest())
            each.details.append(f"project source here: {_project_of(held)}")
            wanted = len(find_profile(held.profile, held.mode).tools)
            if each.tool_count != wanted:
                each.problem(f"the server lists {each.tool_count} tools, and should list {wanted}")
    if parsed.json:
        put_json({"hosts": [asdict(each) for each in found]})
    else:
        put("\n".join(line for each in found for line in _report(each)))
    return _FAILED if any(each.status == "drifted" for each in found) else 0


def _project_of(held: Any) -> str:  # noqa: ANN401 - a request with the server's options
    """Return what workspaces start from if a server is started here with these options."""
    project = find_project(
        project_path=held.project_path, repo_url=held.repo_url, repo_ref=held.repo_ref,
        no_project_source=held.no_project_source, checkout=current_checkout(),
    )  # fmt: skip
    return " ".join(filter(None, described(project, no_project_source=held.no_project_source)))


def server_command(request: ServeRequest) -> list[str]:
    """Return the command that starts the server with the options of a request.

    Raises:
        PyroError: INVALID for a profile or mode that does not exist; UNAVAILABLE if uvx does not find this release.
    """
    find_profile(request.profile, request.mode)
    words = ["mcp", "serve", *_serve_words(request)]
    if getattr(request, "uvx", False):
        done = process.run([*_UVX, "--version"], timeout_s=_UVX_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise PyroError(
                ErrorCode.UNAVAILABLE,
                "uvx does not find pyro-mcp 5 or later",
                hint="Leave --uvx out: the entry then has the absolute path of the installed `pyro`.",
            )
        return [*_UVX, *words]
    return ["pyro" if getattr(request, "installed_package", False) else own_program(), *words]


def own_program() -> str:
    """Return the absolute path of the installed `pyro`."""
    own = Path(sysconfig.get_path("scripts")) / "pyro"
    found = str(own) if own.exists() else which("pyro")
    if found is None:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            "the program pyro is not installed",
            hint="Install the package pyro-mcp, then try again.",
        )
    return found


def _serve_words(request: ServeRequest) -> list[str]:
    """Return the options of `pyro mcp serve` that a request has, whatever they are."""
    words: list[str] = []
    for each in parameters(ServeRequest):
        value: object = getattr(request, each.name)
        if value == each.default:
            continue
        if each.name == "ca_file":
            # The host starts the server in a directory of its own choice.
            value = absolute_ca_files(cast("tuple[str, ...]", value))
        if value is True:
            words.append(each.option)
        else:
            values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
            words += [word for one in values for word in (each.option, str(one))]
    return words


def _held_request(command: Sequence[str], given: Any) -> Any:  # noqa: ANN401 - a request of one of several commands
    """Return the request with the server's options that an entry has."""
    words = list(command)
    at = words.index("serve") + 1 if "serve" in words else len(words)
    held = parse(SERVE.shape, words[at:]).request
    kept = {each.name: getattr(held, each.name) for each in fields(ServeRequest)}
    return type(given)(**{each.name: getattr(given, each.name) for each in fields(given)} | kept)


def _write(parsed: Parsed, host: Host, scope: Scope, command: list[str], *, approve: bool) -> int:
    changed = host.connect(scope, command, approve=approve)
    document = {
        "host": host.name,
        "scope": scope,
        "server_command": command,
        "changed": [str(path) for path in changed],
        "approved": approve,
        "verification_command": ["pyro", "host", "doctor", host.name],
    }
    if parsed.json:
        put_json(document)
        return 0
    lines = [f"{host.title}: wrote {_paths(changed)}" if changed else f"{host.title}: already connected, unchanged"]
    lines.append(f"server: {' '.join(command)}")
    if approve:
        lines.append("approved: its own tools run without a question; --ask leaves that to the host")
    lines.append(f"check it with: pyro host doctor {host.name}")
    put("\n".join(lines))
    return 0


def _report(found: Checkup) -> list[str]:
    lines = [f"{found.host:<12} {found.status}{f'  {found.version}' if found.version else ''}"]
    if found.configured:
        lines.append(f"  {found.scope} entry in {found.path}")
    if found.answered_ms is not None:
        lines.append(f"  the server answered in {found.answered_ms} ms with {found.tool_count} tools")
    lines += [f"  {each}" for each in found.details]
    if found.status in {"drifted", "missing"} and found.repair_command:
        lines.append(f"  fix: {found.repair_command}")
    return lines


def _paths(paths: Sequence[Path]) -> str:
    return " and ".join(map(str, paths))
