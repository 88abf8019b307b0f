"""Faults of the store, put in place in its process: between it and its clients.

What two lives of the store must both know (a state that is held back) lies in the store itself,
below `/tool/hvsim/held/RULE`, which dom0 alone may read.
"""
