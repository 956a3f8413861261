"""The lifecycle of a workspace: create, seed, start, stop, expire, reset, snapshots, delete, and lookup."""
