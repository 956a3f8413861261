"""Power cuts: a disk that logs its writes, a random load on it, and a check of what a cut at any moment leaves."""
