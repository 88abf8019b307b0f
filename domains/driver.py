"""The program of a driver domain that says no more of itself: blkback and netback.

What a Linux driver domain with `xl devd` does: it serves every `backend/vbd` as
`domains/storage.py` does, and every `backend/vif` with bridges that are made when a vif names one,
as `domains/network.py` does.
"""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.hotplug import own_disks, script
from hvsim.drivers.net.back import NetBack
from hvsim.drivers.net.bridges import Bridges


def main(dom: Domain) -> None:
    """Serve disks and interfaces."""
    dom.starting()
    own_disks(dom)
    BlockBack.register(dom, script(dom))
    NetBack.register(dom, Bridges(dom.log).make_link)
    dom.ready()
    dom.serve()
    dom.backends.stop()
