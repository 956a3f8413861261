"""Git checkouts as seeds: files that git does not ignore, and a repository that is safe to use in a guest."""
