"""What ``xl create`` goes on doing after its domain runs: it waits for the domain's end.

On a real host each domain has an xl process for that, in the background or (``-F``) not, or none
(``-e``).  Here the toolstack sees to all of them (`lifecycle.py`); this is who listens to what it
does, and whether it does.
"""

from __future__ import annotations

import os

import anyio

from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.guest import Guest, Monitor
from hvsim.toolstack.host.reply import Reply

LOOK = 1.0
"""Seconds between two looks, if nothing is noticed before."""
OVER = "Done. Exiting now"


def waits(guest: Guest) -> str:
    """What xl says when it begins to wait."""
    return f"Waiting for domain {guest.name} (domid {guest.domid}) to die [pid {os.getpid()}]"


async def follow(toolstack: Toolstack, reply: Reply, guest: Guest) -> None:
    """``xl create -F``: say what is done about the end of *guest*, until there is no more of it."""
    monitor = guest.monitor = Monitor([waits(guest)])
    said = 0
    while True:
        event = toolstack.changed
        new, said = monitor.lines[said:], len(monitor.lines)
        await reply.err(*new)
        if OVER in new:
            return
        known = any(other.monitor is monitor for other in toolstack.guests.values())
        if not known and not monitor.acting and said == len(monitor.lines):
            await reply.err(f"Domain {guest.domid} has been destroyed.")
            return
        with anyio.move_on_after(LOOK):
            await event.wait()
