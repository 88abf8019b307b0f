"""dom0's kernel: a mini-OS that uses no devices and serves disks to guests.

It is one of several processes of dom0 (xenstored, xenconsoled and the toolstack are others) and
the one that a real host's dom0 kernel is: its store connection runs over dom0's own ring page.
"""

from hvsim.domain.domain import Domain
from hvsim.drivers.block.back import BlockBack


def main(dom: Domain) -> None:
    """Serve block devices until dom0 ends."""
    BlockBack.register(dom)
    for command in ("poweroff", "reboot"):
        dom.store.write(f"control/feature-{command}", "1")
    dom.store.write("control/feature-suspend", "1")
    dom.serve()
