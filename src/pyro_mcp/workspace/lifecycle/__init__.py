"""The life of a workspace: create, seed, start, stop, expire, reset, snapshots, delete, and looking workspaces up."""
