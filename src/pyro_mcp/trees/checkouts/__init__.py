"""Git checkouts of the host as seeds: files that git does not ignore, and a repository that a guest can use."""
