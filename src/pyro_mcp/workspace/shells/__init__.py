"""What a shell's output means to who reads it: text by cursor, the picture that a person would see, one's own terminal.

Owns that part of the host's side of shells. Refuses to open, write to or close one: those are verbs.
"""
