"""The product's environment variables: valid values, and detection of misspelled names.

Other programs also use variables that begin with `PYRO_`, so unknown names are not errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pyro_mcp.errors import ErrorCode, PyroError

PREFIX = "PYRO_"
#: Each variable with its valid values; none for a path or an address.
VARIABLES: dict[str, tuple[str, ...]] = {
    "PYRO_VMM": ("qemu", "firecracker", "none"),
    "PYRO_ACCEL": ("kvm", "tcg"),
    "PYRO_REQUIRE_KVM": ("1", "0"),
    "PYRO_DEBUG": ("1", "0"),
    "PYRO_ENVIRONMENT_CACHE_DIR": (),
    "PYRO_STATE_DIR": (),
    "PYRO_RUNTIME_DIR": (),
    "PYRO_DEBIAN_MIRROR": (),
    # For tests: see `host.faults`.
    "PYRO_FAULT_POINT": (),
    "PYRO_FAULT_TRACE": (),
}
#: Variables of version 3 that no longer have any effect, and their replacements.
FORMER = {
    "PYRO_RUNTIME_BUNDLE_DIR": "VMs run with the host's QEMU: see `pyro doctor`.",
    "PYRO_VM_ENABLE_NETWORK": "Pass `--network` or `--network-policy` to the command.",
    "PYRO_OCI_UPLOAD_TIMEOUT_SECONDS": "Environments are built locally and not uploaded.",
    "PYRO_OCI_UPLOAD_CHUNK_SIZE_BYTES": "Environments are built locally and not uploaded.",
    "PYRO_OCI_REQUEST_TIMEOUT_SECONDS": "Environments are built locally and not fetched from a registry.",
}
_SHORTEST_PART = 4
_CLOSE = 0.8


def check_values(env: Mapping[str, str] | None = None) -> None:
    """Check that each variable has a valid value. An empty one counts as unset.

    Raises:
        PyroError: USAGE, naming the valid values.
    """
    env = os.environ if env is None else env
    for name, values in VARIABLES.items():
        found = env.get(name, "")
        if found and values and found not in values:
            raise PyroError(
                ErrorCode.USAGE, f"{name} is {found!r}", hint=f"Unset it, or set it to {' or '.join(values)}."
            )


def near_misses(env: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return unknown variables that resemble one of the product's, each with the one probably meant."""
    env = os.environ if env is None else env
    unknown = [name for name in env if name.startswith(PREFIX) and name not in VARIABLES and name not in FORMER]
    return [(name, meant) for name in sorted(unknown) if (meant := _meant(name))]


def former_in_use(env: Mapping[str, str] | None = None) -> list[str]:
    """Return the variables of version 3 that are set but no longer have any effect."""
    env = os.environ if env is None else env
    return [name for name in FORMER if name in env]


def _meant(name: str) -> str:
    import difflib

    part = name.removeprefix(PREFIX)
    for known in VARIABLES:
        whole = known.removeprefix(PREFIX)
        shorter, longer = sorted((part, whole), key=len)
        is_part = len(shorter) >= _SHORTEST_PART and (longer.startswith(shorter) or longer.endswith("_" + shorter))
        if is_part or difflib.SequenceMatcher(None, part, whole).ratio() >= _CLOSE:
            return known
    return ""
