"""Transfer trees of files between the host and a workspace.

`seed` writes a tree into a workspace's first disk, `outgoing` turns one into a tar stream for a push, and `receive`
extracts a guest's tar stream to a new host path. Sources are directories (`directory`), archives (`archive`) and other
classes that implement the protocol in `entries`. Nothing here reads a disk that a guest has written.

Modes lose their setuid, setgid and sticky bits, owners become root, and extended attributes are dropped.
"""
