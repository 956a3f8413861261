#!/usr/bin/env python3
"""Use a secret in a workspace; its value is redacted in all output."""

from __future__ import annotations

import secrets

from pyro_mcp import Pyro


def main() -> None:
    token = secrets.token_urlsafe(15)
    with Pyro() as pyro:
        # To read the value from a file: {"name": "TOKEN", "file_path": "token.txt"}.
        made = pyro.create_workspace("debian:12", secrets=[{"name": "TOKEN", "value": token}])
        workspace_id = made.workspace_id
        print("secrets ", ", ".join(f"{each.name} ({each.source_kind})" for each in made.secrets))

        given = {"TOKEN": "API_TOKEN"}
        show = 'echo "$API_TOKEN" $(printf %s "$API_TOKEN" | od -An -tx1 | tr -d " \\n")'
        print("printed ", pyro.exec_workspace(workspace_id, command=show, secret_env=given).stdout.strip())
        use = "echo ${#API_TOKEN} characters"
        print("used    ", pyro.exec_workspace(workspace_id, command=use, secret_env=given).stdout.strip())

        # The value is redacted in files, too.
        print("noted   ", pyro.exec_workspace(workspace_id, command=["echo", token]).command)

        pyro.reset_workspace(workspace_id)
        print("kept    ", pyro.exec_workspace(workspace_id, command="cat /run/pyro-secrets/TOKEN").stdout)
        print("deleted ", pyro.delete_workspace(workspace_id).deleted)


if __name__ == "__main__":
    main()
