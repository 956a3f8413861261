"""The secrets of a workspace, in a file that only its owner can read, and the variables made from them.

If the record lists secrets and the file is missing, nothing runs: the guest's output could not be redacted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.durable import atomic_write
from pyro_mcp.host.files import open_regular
from pyro_mcp.model.workspace import SecretKind
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.workspace.secrets.redactor import Redactor
from pyro_mcp.workspace.secrets.values import MAX_SECRETS, MAX_VALUE_BYTES, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.agent import AgentSession
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.workspace import Workspace

# JSON encodes a control character in six bytes.
_MAX_FILE_BYTES = MAX_SECRETS * (MAX_VALUE_BYTES * 6 + 256)
_HINT = "Export what you need, delete the workspace, and create another one with the secrets."


def keep_secrets(files: WorkspaceFiles, secrets: Sequence[Secret]) -> None:
    """Write a workspace's secrets to its directory; without secrets, write nothing.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    if secrets:
        listed = [{"name": each.name, "kind": each.kind.value, "value": each.value} for each in secrets]
        atomic_write(files.secrets, json.dumps({"secrets": listed}, ensure_ascii=False).encode(), 0o600)


def secrets_of(paths: Paths, workspace: Workspace) -> tuple[Secret, ...]:
    """Return a workspace's secrets, with their values.

    Raises:
        PyroError: CORRUPT if the file is missing or damaged; PERMISSION and others.
    """
    if not workspace.secrets:
        return ()
    path = WorkspaceFiles(paths, workspace.id).secrets
    try:
        with open(open_regular(path, "the secrets"), "rb") as file:
            document: object = json.loads(file.read(_MAX_FILE_BYTES))
        found = _secrets(document)
    except OSError as error:
        raise from_os_error(error, f"read the secrets of the workspace {workspace.title}") from error
    except PyroError as error:
        if error.code is ErrorCode.PERMISSION:
            raise
        raise _damaged(workspace) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        # A precise message would quote its content.
        raise _damaged(workspace) from None
    if tuple(each.source for each in found) != workspace.secrets:
        raise _damaged(workspace)
    return found


def redactor_for(paths: Paths, workspace: Workspace) -> Redactor:
    """Return the redactor of a workspace's secrets.

    Use `stream()` for a stream of bytes, `text()` and `error()` for complete texts. It is idle if there are no secrets.
    Call this before asking the guest for anything.

    Raises:
        PyroError: CORRUPT, PERMISSION and others: then no output may be shown.
    """
    return Redactor(each.value for each in secrets_of(paths, workspace))


def secret_variables(workspace: Workspace, secrets: Sequence[Secret], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the secret variables of a command, shell or service: `wanted` maps each secret's name to its variable.

    Raises:
        PyroError: NOT_FOUND if there is no such secret; INVALID if a variable can't have that name or that value.
    """
    known = {each.name: each.value for each in secrets}
    found: dict[str, str] = {}
    for name, variable in wanted.items():
        value = known.get(name)
        if value is None:
            raise PyroError(
                ErrorCode.NOT_FOUND,
                f"the workspace {workspace.title} has no secret {name[:64]!r}",
                hint=f"It has {', '.join(sorted(known))}." if known else "Secrets are given when it is created.",
            )
        if not (variable.isascii() and variable.isidentifier()):
            raise PyroError(
                ErrorCode.INVALID,
                f"the secret {name} can't be in a variable with that name",
                hint="Use letters, digits and underscores, not beginning with a digit.",
            )
        if variable in found:
            raise PyroError(
                ErrorCode.INVALID,
                f"two secrets are assigned to the variable {variable}",
                hint="Use a separate one for each.",
            )
        if "\0" in value:
            raise PyroError(
                ErrorCode.INVALID,
                f"the secret {name} contains a NUL character, which no variable may contain",
                hint=f"Read it from /run/pyro-secrets/{name} in the guest.",
            )
        found[variable] = value
    return found


def hand_over(paths: Paths, workspace: Workspace, session: AgentSession) -> None:
    """Send the workspace's secrets to a guest that was just configured.

    Raises:
        PyroError: CORRUPT and others of the host; UNSUPPORTED, UNAVAILABLE, TIMEOUT, GUEST_LOST, PROTOCOL.
    """
    for each in secrets_of(paths, workspace):
        session.keep_secret(each.name, each.value)


def _secrets(document: object) -> tuple[Secret, ...]:
    listed = cast("dict[str, list[dict[str, str]]]", document)["secrets"]
    return tuple(Secret(each["name"], SecretKind(each["kind"]), each["value"]) for each in listed)


def _damaged(workspace: Workspace) -> PyroError:
    return PyroError(
        ErrorCode.CORRUPT, f"the secrets of the workspace {workspace.title} are missing or damaged", hint=_HINT
    )
