"""Scenarios: a lab, what its clients do, what is broken when, and what must hold.

Who makes the load, who breaks, the history of what clients were told, and who judges it are values
of their own: none knows another.
"""
