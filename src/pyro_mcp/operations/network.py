"""What the network policy packages comes to."""

from __future__ import annotations

from dataclasses import field

from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, said
from pyro_mcp.operations.operation import Call, Effect, Operation, Result, engine, result_of
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT


class NetworkPresetsRequest(Request):
    """Ask for the hosts of the network policy packages."""

    environment: str = field(
        default=DEFAULT_ENVIRONMENT,
        metadata=parameters.environment("Environment whose package clients count.", place=Place.POSITIONAL),
    )


class PresetHostResult(Result):
    """A host that a package client uses."""

    host: str = said("The host.")
    source: str = said("Where that is written.")
    client: str = said("The package client that uses it.")


class NetworkPresetsResult(Result):
    """The hosts of the network policy packages."""

    environment: str = said("The environment.")
    installed: bool = said("Whether it is installed; else only this host's configuration counts.")
    count: int = said("Number of hosts.")
    hosts: list[PresetHostResult] = said("The hosts.", most=200)
    notes: list[str] = said("Remarks, such as on an index that does not answer.", most=20)


def _presets(request: NetworkPresetsRequest, call: Call) -> NetworkPresetsResult:
    from pyro_mcp.image.environments import find_environment
    from pyro_mcp.image.names import check_name
    from pyro_mcp.workspace.presets import package_presets

    check_name(request.environment)
    environment = find_environment(call.paths, request.environment)
    with engine(call) as using:
        found = package_presets(using, environment)
    return result_of(
        NetworkPresetsResult,
        found,
        environment=request.environment,
        installed=environment is not None,
        count=len(found.hosts),
    )


NETWORK_PRESETS = Operation(
    name="network_presets",
    title="Show the hosts of the network policy packages",
    description=(
        "Show the hosts that the network policy packages allows, and where each is written: what the package clients of"
        " an environment and of this host are set to use."
    ),
    handler=_presets,
    effect=Effect.READ,
    cli=("network", "presets"),
    sdk="network_presets",
)
ROWS = (NETWORK_PRESETS,)
