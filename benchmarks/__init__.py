"""Benchmarks: how fast and how large the product is on this machine, beside what else runs here.

Each figure is measured, never asserted: a test that depends on the clock fails on somebody's busy machine.
"""
