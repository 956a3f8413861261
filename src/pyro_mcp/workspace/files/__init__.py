"""A workspace's files: paths, reading and writing, pushes, patches, exports and disk images."""
