"""Where somebody's last words are: on a domain's console, or in the file of a process of dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.toolstack.host.parts import DAEMONS

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.host import Host


def log_of(host: Host, who: str) -> str:
    """What to read, as a command or a file."""
    guest = guest_of(host, who)
    if who not in DAEMONS and guest == who:
        return f"hvsim logs {who}"
    name = who if guest == who else f"qemu-dm-{guest}"
    return f"log/{name}.log in the lab's run directory"


def guest_of(host: Host, who: str) -> str:
    """The guest that a QEMU is there for; anybody else himself."""
    kind, _, number = who.partition("-")
    return host.name(int(number)) if kind == "qemu" and number.isdecimal() else who
