"""Shells of a workspace: verbs, output as text or as a screen, and attaching a terminal."""
