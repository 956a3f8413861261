"""Published ports: TCP on this host's 127.0.0.1, forwarded to a service by one helper process per service."""
