"""The host machine: processes, paths, locks, sockets and durable files. It knows nothing about VMs or workspaces."""
