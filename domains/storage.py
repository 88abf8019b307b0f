"""The program of a storage driver domain: blkback, and the hotplug part of `xl devd`.

It serves every `backend/vbd` that the toolstack makes in this domain's tree, from the images that
the domain was given files for, from files that dom0 lends it for a disk, and from virtual disks of
its own (`target=/dev/xvdb`), until it is told to shut down.
"""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.hotplug import own_disks, script
from hvsim.drivers.split import devd


def main(dom: Domain) -> None:
    """Serve disks."""
    dom.starting()
    own_disks(dom)
    BlockBack.register(dom, script(dom))
    devd.serve(dom)
    dom.ready()
    dom.serve()
    # Frontends have been told by the toolstack or find out; images are closed in order, so that
    # nothing that was accepted is lost by an orderly end.
    dom.backends.stop()
