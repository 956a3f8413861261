"""Files that make host tools run code, such as git hooks and task files: detect them, and check them on export."""
