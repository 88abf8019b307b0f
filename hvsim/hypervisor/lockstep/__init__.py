"""Lockstep: one process of the lab runs at a time, and a seed says which.

* ``choices``: who picks among several that may go on.
* ``turns``: who may go on, and who has the turn.
* ``clock``: the time that stands still while anybody runs.
* ``calls``: how a call is served.
* ``sets``: for whom something has come.
* ``linux``: what the kernel does in its own time, waited for.
* ``server``: the shell, in place of ``hvsim.hypervisor.server``.
"""
