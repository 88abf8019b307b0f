"""dom0's kernel: a mini-OS that uses no devices and serves disks and networks to guests.

It is one of several processes of dom0 (xenstored, xenconsoled and the toolstack are others) and
the one that a real host's dom0 kernel is: its store connection runs over dom0's own ring page.

It is also dom0's init (``domains.init``).

Its bridge lies in a network namespace of this process, made for the first vif: dom0 is trusted, but
the machine's own links are not its business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domains.init import Init
from hvsim.domain.domain import Domain
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.net.back import NetBack
from hvsim.drivers.net.bridges import Bridges
from hvsim.drivers.net.link import Link, NoLink
from hvsim.spawn.sandbox import namespaces

if TYPE_CHECKING:
    from hvsim.drivers.net.protocol import VifInfo


class LazyBridges:
    """The bridges of a process that may never need them."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._bridges: Bridges | None = None

    def make_link(self, vif: VifInfo) -> Link:
        """As `Bridges.make_link`.  Raises: NoLink, OSError, ValueError."""
        if self._bridges is None:
            try:
                namespaces.own_network()
            except OSError as error:
                raise NoLink(
                    "dom0 serves vifs in a network namespace of its own, which this machine does "
                    f"not allow ({error.strerror}): see sysctl user.max_net_namespaces"
                ) from None
            self._bridges = Bridges(self._dom.log)
        return self._bridges.make_link(vif)


def main(dom: Domain) -> None:
    """Serve block and network devices, and look after dom0's daemons, until dom0 ends.

    Args: ``daemons``, ``followers``, ``xenstored``, ``mourned``, ``run_dir``, ``later``:
    those of Init.
    """
    folder = dom.args.get("run_dir")
    Init(
        dom,
        dom.args.get("daemons") or (),
        dom.args.get("followers") or (),
        str(dom.args.get("xenstored") or ""),
        str(dom.args.get("mourned") or ""),
        Path(str(folder)) if folder else None,
        dom.args.get("later") or (),
    ).start()
    BlockBack.register(dom)
    NetBack.register(dom, LazyBridges(dom).make_link)
    for command in ("poweroff", "reboot"):
        dom.store.write(f"control/feature-{command}", "1")
    dom.store.write("control/feature-suspend", "1")
    dom.serve()
