"""Chat hosts: the entry for our server in each one's own configuration, and whether it works there."""
