"""The guest agent, which is shipped in the initramfs: the standard library and `protocol` only."""
