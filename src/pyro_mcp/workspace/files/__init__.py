"""Files of a workspace: paths, reading and writing, pushes, patches, exports and disk images."""
