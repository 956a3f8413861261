#!/usr/bin/env python3
"""Run one command in a fresh virtual machine."""

from __future__ import annotations

from pyro_mcp import Pyro
from pyro_mcp.errors import PyroError


def main() -> int:
    with Pyro() as pyro:
        try:
            # A string is run by the shell; a list is a program and its arguments.
            result = pyro.run_in_vm("debian:12", "git --version && python3 -c 'print(6 * 7)'", timeout_seconds=60)
        except PyroError as error:
            # pyro itself failed. A command that fails is a result.
            print(f"{error.message}\n{error.hint}")
            return 125
    print(result.stdout, end="")
    print(f"exit {result.exit_code} after {result.duration_ms} ms ({result.execution_mode}, {result.isolation})")
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
