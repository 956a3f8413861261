"""What a model gives as a secret is not said back to it."""

from __future__ import annotations

from typing import Any

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.mcp_server.schemas import ToolInput
from pyro_mcp.operations.validation import check_request
from pyro_mcp.operations.workspaces.lifecycle import WORKSPACE_CREATE, WorkspaceCreateRequest

VALUE = "4815162342"


@pytest.mark.parametrize(
    "secrets",
    [
        VALUE,
        [VALUE],
        [{"name": "A", "value": int(VALUE)}],
        [{"name": "A", "value": [VALUE]}],
        {"A": VALUE},
        [{"name": "B", "value": VALUE}, {"name": "A", "value": None}],
    ],
)
def test_a_secret_of_another_form_is_refused_without_saying_it(secrets: Any) -> None:
    tool = ToolInput(WORKSPACE_CREATE, frozenset())
    with pytest.raises(PyroError, match="secrets is malformed") as caught:
        tool.parse({"environment": "debian:12", "secrets": secrets})
    assert caught.value.code is ErrorCode.INVALID
    assert VALUE not in str(caught.value.to_json())
    with pytest.raises(PyroError, match="secrets is malformed") as caught:
        check_request(WorkspaceCreateRequest(environment="debian:12", secrets=secrets))
    assert VALUE not in str(caught.value.to_json())


def test_secrets_of_the_right_form_are_taken() -> None:
    tool = ToolInput(WORKSPACE_CREATE, frozenset())
    given = [{"name": "A", "value": VALUE}, {"name": "B", "file_path": "/x"}]
    request = tool.parse({"environment": "debian:12", "secrets": given})
    assert isinstance(request, WorkspaceCreateRequest)
    assert request.secrets == tuple(given)
    check_request(request)
