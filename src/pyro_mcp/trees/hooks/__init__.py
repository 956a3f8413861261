"""Files that make a host run code, such as git hooks and task files: what they are, and the gate before an export."""
