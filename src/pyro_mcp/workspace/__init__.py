"""What is done with VMs and workspaces: one module for each verb.

Owns the order of steps in a life cycle. Refuses to know how a VMM, an image or the store does its part.
"""
