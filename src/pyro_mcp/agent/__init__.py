"""The host's side of the conversation with the guest agent.

Owns connections, requests and streams. Refuses to believe anything a guest says without checking its size and shape.
"""
