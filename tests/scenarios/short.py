"""A short scenario: a guest that checks registers on its disk, and the domain that serves it."""

from __future__ import annotations


def host(
    guest: str = "web", program: str = "domains.guests.register:main", size: str = "1M"
) -> str:
    """A guest with a disk of *size*, ``d.img``, which the domain ``storage`` serves."""
    return f"""
[[image]]
path = "d.img"
size = "{size}"
scratch = true
[[domain]]
name = "storage"
role = "driver"
restart = "always"
memory = 32
[[domain]]
name = "{guest}"
memory = 32
program = "{program}"
disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target=d.img"]
on_poweroff = "destroy"
"""


LAB = f"""
[scenario]
title = "short"
[lab]
walls = "what-there-is"
{host()}"""
TEXT = (
    LAB
    + """
[[load]]
domain = "web"
args = { rate = 150, registers = 6, reads = 75 }
[[phase]]
name = "calm"
until = [{ domain = "web", count = 20, within = "30s" }]
[[phase]]
name = "storm"
for = "1s"
[[phase.fault]]
target = "web/xvda"
MEDIA
[[phase.step]]
when = "500ms..700ms"
kill = "storage"
[[phase]]
name = "healed"
until = [{ domain = "web", count = 20, within = "30s" }]
"""
)
"""Needs a fault of a medium, in TOML, for MEDIA."""
SLOW = 'media = "slow"\nby = "1ms..3ms"'
LOST_FLUSH = 'media = "lost-flush"'
