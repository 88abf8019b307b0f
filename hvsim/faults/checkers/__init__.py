"""Judges of a run: pure functions of what was seen, one file each.

None knows what was broken, nor who did it: what clients were told is a history of its own.
"""
