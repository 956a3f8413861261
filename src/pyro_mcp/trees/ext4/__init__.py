"""Write the ext4 file system of a new disk, with the files of a seed, without mounting it."""
