"""Benchmarks of speed and size on this machine, compared with other tools.

Each figure is measured, never asserted: a test that depends on the clock fails on somebody's busy machine.
"""
