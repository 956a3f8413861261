"""Parameters and fields shared by several operations."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import field

from pyro_mcp.model import limits
from pyro_mcp.model.ids import VM_ID_PATTERN
from pyro_mcp.model.limits import MAX_RULE_CHARS
from pyro_mcp.operations.fields import Place, Request, about, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.protocol.names import WORKSPACE

DEFAULT_ENVIRONMENT = "debian:12"
_WORD = "[a-z0-9]+(?:[._-][a-z0-9]+)*"


def environment(description: str, *, place: Place) -> Mapping[str, object]:
    """Return the metadata of a field that names an environment."""
    return about(
        description,
        place=place,
        pattern=f"^{_WORD}:{_WORD}$",
        max_length=128,
        form="a name such as debian:12 (`pyro env list` shows them)",
        names="ENVIRONMENT",
        completes="environment",
    )


ENVIRONMENT = environment(
    "Environment: debian:12 (git, python3, curl), debian:12-base (smallest), debian:12-build (compilers), or"
    " debian:13 likewise.",
    place=Place.POSITIONAL,
)
VM_ID = about(
    "Id of the VM, as vm_create returned it.",
    place=Place.POSITIONAL,
    pattern=VM_ID_PATTERN,
    max_length=64,
    form="the id that `pyro vm create` returned, such as vm_…",
    names="VM_ID",
    completes="vm",
)
COMMAND = about(
    "A string is run by bash (sh if there is none); a list is a program and its arguments, without a shell.",
    place=Place.COMMAND,
    names="COMMAND",
)
ENV = about(
    "Environment variables to set: name to value. The values are recorded nowhere.",
    names="NAME[=VALUE]",
    short="-e",
    from_file="--env-file",
)
CWD = about(
    "Working directory; relative paths are below /workspace, ~ is the user's home.",
    names="PATH",
    short="-w",
    max_length=4096,
    pattern=r"(?s)^.+$",
    form="a path in the guest, such as src",
)
USER = about(
    "User to run it as, by name or number. Root by default.",
    names="USER",
    short="-u",
    max_length=64,
    pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
    form="the name or number of a user of the guest",
)
VCPU_COUNT = about("Virtual CPUs.", ge=limits.MIN_VCPU_COUNT, le=limits.MAX_VCPU_COUNT, also="--cpus")
MEM_MIB = about("Memory in MiB.", ge=limits.MIN_MEM_MIB, le=limits.MAX_MEM_MIB, unit="MiB", also="--memory")
_TIMEOUT = "Timeout of the command. When it expires, the whole process tree is killed and exit_code is 124."


def timeout(description: str = _TIMEOUT) -> Mapping[str, object]:
    """Return the metadata of a command's time limit."""
    return about(description, ge=limits.MIN_TIMEOUT_S, le=limits.MAX_TIMEOUT_S, unit="seconds", also="--timeout")


TIMEOUT_SECONDS = timeout()
ONE_SHOT_TIMEOUT = timeout(f"{_TIMEOUT} With a network the default is {limits.NETWORK_TIMEOUT_S}.")
STDIN = about("Text to pass to the command on stdin.", on="sdk mcp")
MERGE_STDERR = about("Return stderr in stdout, in the order in which it was written.", on="sdk")
MAX_OUTPUT_BYTES = about(
    "How much of each stream the result keeps.",
    ge=0,
    le=limits.MAX_STREAM_BYTES,
    unit="bytes",
    on="sdk",
)
KEEP = about(
    "What it keeps of a longer stream: its beginning and end (ends), or its end (tail).",
    pattern="^(ends|tail)$",
    form="ends or tail",
    on="sdk",
)
VM_TTL_SECONDS = about(
    "Time to live of the VM. When it expires, the VM is deleted with its disk.",
    ge=limits.MIN_TTL_S,
    le=limits.MAX_TTL_S,
    unit="seconds",
    also="--ttl",
)
NETWORK = about("Give the VM internet access. It never reaches this host, its network or cloud metadata.")
ALLOW_HOST_COMPAT = about(
    "If no VM can be booted here, run on this host instead, in a private directory, without isolation."
)
REQUIRE_KVM = about("Fail unless hardware virtualisation (KVM) is available (also: PYRO_REQUIRE_KVM=1).")


def working_directory(cwd: str) -> str:
    """Return the path of a working directory: ~ is left to the guest, which knows the user's home."""
    return cwd if cwd.split("/", maxsplit=1)[0] == "~" else posixpath.join(WORKSPACE, cwd)


MAX_HANDLE_CHARS = 64
MAX_PATH_CHARS = 4096
MAX_FILE_BYTES = 1024 * 1024
DEFAULT_READ_BYTES = 65536
HANDLE = about(
    "Workspace id (ws_…), its start, or name.",
    place=Place.POSITIONAL,
    pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$",
    max_length=MAX_HANDLE_CHARS,
    form="the id or the name of a workspace (`pyro workspace list` shows them)",
    names="WORKSPACE_ID",
    completes="workspace",
)
WORKSPACE_TTL_SECONDS = about(
    ("Idle timeout: after so long without use the workspace is stopped, and everything is kept."),
    ge=limits.MIN_TTL_S,
    le=limits.MAX_TTL_S,
    unit="seconds",
    also="--ttl",
)
_POLICIES = r"^(off|packages|allow|egress|egress\+published-ports)$"
_POLICY_FORM = "off, packages, allow, egress, or egress+published-ports"
NETWORK_POLICY = about(
    "Network access: off (none), packages (what package clients are set to use, and git hosts), allow (only the allowed"
    " hosts), egress (the internet); never this host or its network. egress+published-ports is the same as egress.",
    names="POLICY",
    pattern=_POLICIES,
    form=_POLICY_FORM,
    completes="network policy",
)
VM_NETWORK_POLICY = about(
    "Network access, more precisely: off, packages (what package clients are set to use, and git hosts), allow (only"
    " the allowed hosts), egress.",
    names="POLICY",
    pattern=_POLICIES,
    form=_POLICY_FORM,
    completes="network policy",
)
HOST_FORMS = "example.org, *.example.org, 192.0.2.0/24, each also with :PORT"
ALLOW_HOSTS = about(
    f"Hosts to allow beside the policy packages or allow: {HOST_FORMS}.",
    names="HOST",
    called="--allow-host",
    max_length=MAX_RULE_CHARS,
    pattern=r"^\S+$",
    form=HOST_FORMS,
)
DENY_HOSTS = about(
    "Hosts to deny, in the same forms. This wins over what is allowed.",
    names="HOST",
    called="--deny-host",
    max_length=MAX_RULE_CHARS,
    pattern=r"^\S+$",
    form=HOST_FORMS,
)
POLICY = "Its network policy."
ALLOWED = "Hosts allowed by name."
DENIED = "Hosts denied."
CA_FILES = about(
    (
        "A PEM file of this host with certificate authorities for the guest to trust, such as the root of a company's"
        " proxy."
    ),
    names="FILE",
    called="--ca-file",
    max_length=4096,
    pattern=r"(?s)^.+$",
    form="a PEM file with certificates",
    completes="host path",
    on="cli sdk",
)
SECRETS = about(
    (
        "Secrets for its commands: objects with a name and a value, or a name and a file_path (UTF-8, read"
        " once). Each becomes a file in the guest's memory, /run/pyro-secrets/NAME; in output its value is"
        " replaced by [REDACTED]."
    ),
    names="NAME=VALUE",
    called="--secret",
    from_file="--secret-file",
)
SECRET_ENV = about(
    "Secrets to set as environment variables: secret name to variable name.",
    names="NAME[=VAR]",
)
NAME = about(
    "A name: letters, digits, dots, dashes and underscores.",
    names="NAME",
    max_length=63,
    form="at most 63 letters, digits, dots, dashes and underscores",
)
LABELS = about("Labels to set: key to text.", names="KEY=VALUE", called="--label")
CLEAR_LABELS = about("Keys of labels to remove.", names="KEY", called="--clear-label", max_length=63)
MAX_BYTES = about("Maximum number of bytes to read.", ge=1, le=MAX_FILE_BYTES, unit="bytes")
OFFSET = about("Byte offset to start reading at.", ge=0, le=MAX_FILE_BYTES, unit="bytes")
RECURSIVE = about("List subdirectories too.")
WORKSPACE_ID = "Id of the workspace."
EXECUTION_MODE = "Where commands run: guest_virtio_serial, guest_vsock, or host_compat (no VM)."
ISOLATION = "Its isolation from this host: kvm, tcg (a VM in software), none."
FILE_MODE = "Its permission bits, as chmod takes them."
FILE_SIZE = "Its size."
FULL_PATH = "Its full path in the guest."
SKIPPED = "Skipped entries (sockets, devices and so on), the first hundred."
CHANGED = "Files that changed while they were read, the first hundred."


def path(description: str, *, place: Place = Place.POSITIONAL, names: str = "PATH") -> Mapping[str, object]:
    """Return the metadata of a field that names a path in the guest."""
    return about(
        description,
        place=place,
        names=names,
        max_length=MAX_PATH_CHARS,
        pattern=r"(?s)^.+$",
        form="a path under /workspace, such as src/app.py",
    )


def host_path(
    description: str, *, place: Place, names: str, called: str = "", is_output: bool = False
) -> Mapping[str, object]:
    """Return the metadata of a field that names a path of the host."""
    return about(
        description,
        place=place,
        names=names,
        called=called,
        max_length=MAX_PATH_CHARS,
        pattern=r"(?s)^.+$",
        form="a path of this host",
        completes="host path",
        is_host_path=True,
        is_output=is_output,
    )


OUTPUT_PATH = host_path(
    "Destination path on this host. It must not exist yet.",
    place=Place.OPTION,
    names="HOST_PATH",
    called="--output",
    is_output=True,
)
WRITTEN_TO = "Its path on this host."
ONE_FILE = "workspace_diff with path=… shows one file or directory."


class WorkspaceRequest(Request):
    """Name one workspace."""

    workspace_id: str = field(metadata=HANDLE)


class NoteResult(Result):
    """Something about one file of a tree."""

    name: str = said("Its path in the tree.")
    reason: str = said("A remark about it.")
