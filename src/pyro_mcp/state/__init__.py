"""What is known about VMs and workspaces: the store, their directories, and reconciling both with reality.

Owns records and file names. Refuses to start or stop anything.
"""
