"""The wire between host and guest agent, shared by both.

Owns frames, messages and generations. Refuses to import anything but the standard library.
"""
