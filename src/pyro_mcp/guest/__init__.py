"""The guest agent, which is shipped into the initramfs and runs there.

Owns what happens inside a guest. Refuses to import anything but the standard library and `protocol`.
"""
