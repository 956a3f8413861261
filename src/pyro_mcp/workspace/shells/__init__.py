"""Shells of a workspace: their verbs, their output as text or as a screen, and attaching a terminal."""
