"""The host machine: its processes, paths, locks, sockets and durable files.

Owns every touch of the operating system that is not a guest's. Refuses to know what a VM or a workspace is.
"""
