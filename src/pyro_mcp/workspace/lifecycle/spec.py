"""Requests to create and to change a workspace, with their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import DEFAULT_WORKSPACE_TTL_S, Shape, check_ttl
from pyro_mcp.model.naming import check_labels, check_workspace_name
from pyro_mcp.model.network import NetworkRules
from pyro_mcp.model.workspace import SeedOrigin
from pyro_mcp.trees.entries import SeedRules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyro_mcp.host.certificates import Certificate
    from pyro_mcp.trees.entries import TreeSource
    from pyro_mcp.workspace.secrets.values import Secret


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A request to create a workspace.

    `ttl_s` is in seconds since the last activity. `seed` is a directory, an archive, another source of a tree, or None
    for an empty `/workspace`; `origin_kind` and `origin_ref` say who chose it and what it refers to.
    """

    environment: str
    shape: Shape = field(default_factory=Shape)
    ttl_s: int = DEFAULT_WORKSPACE_TTL_S
    network_policy: NetworkPolicy = NetworkPolicy.OFF
    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    allow_host_compat: bool = False
    require_kvm: bool = False
    seed: Path | TreeSource | None = None
    seed_rules: SeedRules = field(default_factory=SeedRules)
    origin_kind: SeedOrigin | None = None
    origin_ref: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[Secret, ...] = ()
    ca_certificates: tuple[Certificate, ...] = ()

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            PyroError: INVALID.
        """
        check_ttl(self.ttl_s)
        self.rules  # noqa: B018 - it checks
        if self.name is not None:
            check_workspace_name(self.name)
        check_labels(self.labels)
        if self.secrets:
            from pyro_mcp.workspace.secrets.values import check_secrets

            check_secrets(self.secrets)

    @property
    def rules(self) -> NetworkRules:
        """Return its network policy and the hosts beside it.

        Raises:
            PyroError: INVALID if they don't fit.
        """
        return NetworkRules.of(self)

    @property
    def origin(self) -> SeedOrigin:
        """Return who chose the seed; by default, the caller."""
        if self.origin_kind is not None:
            return self.origin_kind
        return SeedOrigin.EMPTY if self.seed is None else SeedOrigin.MANUAL_SEED_PATH


@dataclass(frozen=True, slots=True)
class WorkspaceChange:
    """A change of a workspace's name and labels. Labels are merged with the existing ones."""

    name: str | None = None
    clear_name: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    clear_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the bounds and for contradictions.

        Raises:
            PyroError: INVALID.
        """
        if self.name is not None:
            check_workspace_name(self.name)
            if self.clear_name:
                raise PyroError(
                    ErrorCode.INVALID, "a name can't be set and cleared at once", hint="Omit one of the two."
                )
        check_labels(self.labels)
        both = sorted(set(self.labels) & set(self.clear_labels))
        if both:
            raise PyroError(
                ErrorCode.INVALID,
                f"the label {both[0]} can't be set and cleared at once",
                hint="Omit one of the two.",
            )
