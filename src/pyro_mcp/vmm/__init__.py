"""Virtual machine monitors behind a common `Driver` protocol. They know nothing about the guest's software."""
