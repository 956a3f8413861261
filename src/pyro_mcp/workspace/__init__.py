"""Verbs on VMs and workspaces: a folder per noun, a module per verb."""
