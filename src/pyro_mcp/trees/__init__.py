"""Trees of files on their way between the host and a workspace.

Owns all that crosses: `seed` lays a tree into a workspace's first disk, `outgoing` makes a tar stream of one for a
push, `receive` takes a guest's tar stream into a new host path. Sources are directories (`directory`) and archives
(`archive`); `entries` says what a source is, and another kind is one more class. Refuses to read a disk that a guest
has written, and to know how a stream gets into or out of a guest.

Modes are kept without their setuid, setgid and sticky bits, owners become root, extended attributes stay behind.
"""
