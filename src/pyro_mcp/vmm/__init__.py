"""Virtual machine monitors behind one `Driver` protocol.

Owns processes, devices and jails of VMs. Refuses to know what runs in the guest.
"""
