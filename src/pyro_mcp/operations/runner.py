"""The only path from a surface to a handler: check the request, then pass it on.

Tests inject their own runner. No state is kept between calls: any process may continue.
"""

from __future__ import annotations

from os.path import expanduser
from typing import TypeVar

from pyro_mcp.errors import PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.variables import check_values
from pyro_mcp.operations.fields import with_host_paths
from pyro_mcp.operations.operation import Call, Operation
from pyro_mcp.operations.validation import check_request

Q = TypeVar("Q")
R = TypeVar("R")


class Runner:
    """Runs operations in the directories of one user."""

    def __init__(self, paths: Paths | None = None) -> None:
        check_values()
        self.paths = Paths.from_environment() if paths is None else paths

    def call(self) -> Call:
        """Return a call in these directories, for a surface to complete."""
        return Call(paths=self.paths)

    def run(self, operation: Operation[Q, R], request: Q, call: Call | None = None) -> R:
        """Check the request and run the operation.

        Raises:
            PyroError: INVALID if the request is out of bounds; any error of the operation.
        """
        check_request(request)
        call = call or self.call()
        access = call.host_access
        # ~ is the caller's home, on every surface.
        request = access.applied(request) if access else with_host_paths(request, lambda path, _: expanduser(path))
        if not hasattr(request, "workspace_id"):
            return operation.handler(request, call)
        from pyro_mcp.operations.secrecy import error_without_secrets, without_secrets

        try:
            return without_secrets(operation.handler(request, call), call)
        except PyroError as error:
            shown = error_without_secrets(error, request, call)
            if shown is error:
                raise
            raise shown from None
