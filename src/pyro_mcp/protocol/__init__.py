"""The wire between host and guest agent, shared by both: the standard library only."""
