#!/usr/bin/env python3
"""Create and start a virtual machine, show its status, run a command and delete it."""

from __future__ import annotations

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError


def main() -> None:
    with Pyro() as pyro:
        vm_id = pyro.create_vm("debian:12", vcpu_count=1, mem_mib=1024, ttl_seconds=300).vm_id
        print("created", vm_id)
        print("state  ", pyro.start_vm(vm_id).state)
        print("network", pyro.network_info_vm(vm_id).network_policy)
        # A one-shot VM is deleted after its command, even if that fails.
        print("output ", pyro.exec_vm(vm_id, command=["uname", "-sr"]).stdout.strip())
        try:
            pyro.status_vm(vm_id)
        except PyroError as error:
            print("gone   ", error.code is ErrorCode.NOT_FOUND)


if __name__ == "__main__":
    main()
