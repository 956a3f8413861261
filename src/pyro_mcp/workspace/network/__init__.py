"""What the network of a workspace may reach, and what it reached."""
