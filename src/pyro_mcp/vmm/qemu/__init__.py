"""The QEMU driver.

Owns its arguments, its monitor protocol, its jail and its templates. Refuses to be imported by another driver.
"""
