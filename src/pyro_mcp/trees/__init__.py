"""Trees of files on their way between the host and a workspace.

`seed` writes a tree into a workspace's first disk, `outgoing` makes a tar stream of one for a push, `receive` extracts
a guest's tar stream to a new host path. Sources are directories (`directory`) and archives (`archive`); another kind is
one more class for the protocol in `entries`. Nothing here reads a disk that a guest has written.

Modes lose their setuid, setgid and sticky bits, owners become root, extended attributes are dropped.
"""
