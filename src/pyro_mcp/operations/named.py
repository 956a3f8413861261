"""The parameters that several requests share.

Owns their descriptions and bounds, so that a word means the same everywhere. Refuses those that only one request has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.model import limits
from pyro_mcp.model.ids import VM_ID_PATTERN
from pyro_mcp.operations.fields import Place, about

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENVIRONMENT = "debian:12"
_WORD = "[a-z0-9]+(?:[._-][a-z0-9]+)*"


def environment(description: str, *, place: Place) -> Mapping[str, object]:
    """Return the metadata of a field that names an environment."""
    return about(
        description,
        place=place,
        pattern=f"^{_WORD}:{_WORD}$",
        max_length=128,
        form="a name such as debian:12 (pyro env list shows them)",
        names="ENVIRONMENT",
        completes="environment",
    )


ENVIRONMENT = environment(
    "Environment: debian:12 (git, python3, curl), debian:12-base (smallest), debian:12-build (compilers), or the same"
    " with debian:13.",
    place=Place.POSITIONAL,
)
VM_ID = about(
    "The id that the VM got when it was created.",
    place=Place.POSITIONAL,
    pattern=VM_ID_PATTERN,
    max_length=64,
    form="the id that vm_create returned, such as vm_…",
    names="VM_ID",
    completes="vm",
)
COMMAND = about(
    "A text is run by the shell (sh -c); a list is a program and its arguments, taken as they are.",
    place=Place.COMMAND,
    names="COMMAND",
)
VCPU_COUNT = about("Virtual CPUs.", ge=limits.MIN_VCPU_COUNT, le=limits.MAX_VCPU_COUNT)
MEM_MIB = about("Memory in MiB.", ge=limits.MIN_MEM_MIB, le=limits.MAX_MEM_MIB, unit="MiB")
TIMEOUT_SECONDS = about(
    "How long the command may run; then its whole process tree is killed and exit_code is 124.",
    ge=limits.MIN_TIMEOUT_S,
    le=limits.MAX_TIMEOUT_S,
    unit="seconds",
)
TTL_SECONDS = about(
    "How long the VM may live; then it is gone, with its disk.",
    ge=limits.MIN_TTL_S,
    le=limits.MAX_TTL_S,
    unit="seconds",
)
NETWORK = about("Let the VM reach the internet. It never reaches this host, its network or cloud metadata.")
ALLOW_HOST_COMPAT = about(
    "If no VM can be booted here, run on the host itself, in a private directory, without isolation."
)
REQUIRE_KVM = about("Refuse anything less than hardware virtualisation (also: PYRO_REQUIRE_KVM=1).")
