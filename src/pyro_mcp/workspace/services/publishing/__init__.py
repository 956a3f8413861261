"""Published ports: TCP on this host's loopback, carried to a service of a guest.

Owns the helper process that does it, one for each service that publishes, and how it is started. Refuses to listen on
anything but 127.0.0.1.
"""
