"""Faults that are planted in the rules one at a time, and the tests that must notice each.

``make mutants`` plants them all.  Each file of ``planted/`` is about one room; a fault is the exact
text that is replaced, what it is replaced with, and the tests to run, so that it outlives a move of
lines, and says by name when its text is there no more.
"""
