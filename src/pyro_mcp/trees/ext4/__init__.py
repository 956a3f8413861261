"""The ext4 file system of a fresh disk, written without a mount: a blank one, and the files of a seed laid into it."""
