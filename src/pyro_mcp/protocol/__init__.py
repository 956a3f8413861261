"""The wire protocol between host and guest agent. Both import it, so it uses the standard library only."""
