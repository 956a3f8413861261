"""The host machine: its processes, paths, locks, sockets and durable files. It knows nothing of VMs or workspaces."""
