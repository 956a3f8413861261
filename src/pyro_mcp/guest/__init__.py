"""The guest agent. It is shipped in the initramfs, so it imports only the standard library and `protocol`."""
