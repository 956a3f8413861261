"""Virtual machine monitors behind one `Driver` protocol. They know nothing of what runs in the guest."""
