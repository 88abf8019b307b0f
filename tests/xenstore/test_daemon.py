"""The daemon on the real hypervisor: a guest's ring page, its death, and a hostile guest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hvsim.abi import xs_wire
from hvsim.abi.hypercall import HVSIM_DOMCTL_gnttab_seed, HYPERVISOR_domctl, HYPERVISOR_sched_op
from hvsim.abi.sched import SCHEDOP_shutdown, SHUTDOWN_poweroff
from hvsim.domain.domain import Domain
from hvsim.domain.xenbus.ring_transport import RingTransport
from hvsim.xenstore.daemon.daemon import Daemon
from hvsim.xs import requests
from hvsim.xs.blocking import SocketStore, connect
from hvsim.xs.client import StoreClient
from tests.support.hv import Hypervisor

RING_REF = 1


def wire_store(hv: Hypervisor, domain: Domain) -> tuple[int, int]:
    """What the builder does for the store: the page granted, a port for dom0."""
    gfn = int(domain.start_info["store_gfn"])
    hv.dom0.hypercall.call(
        HYPERVISOR_domctl, HVSIM_DOMCTL_gnttab_seed, domain.domid, RING_REF, 0, gfn
    )
    port = hv.dom0.events.alloc_unbound_for(domain.domid, 0)
    domain.events.fetch()
    return gfn, port


@contextmanager
def running(hv: Hypervisor, path: str) -> Iterator[SocketStore]:
    """The daemon as dom0's process, on a thread; gives a tools' connection."""
    daemon = Daemon(hv.dom0, path, None)
    stop: list[int] = []
    thread = threading.Thread(target=daemon.serve, args=(lambda: bool(stop),))
    thread.start()
    try:
        with connect(path) as store:
            try:
                yield store
            finally:
                stop.append(1)  # it looks once more when this connection closes
    finally:
        thread.join(30)
        daemon.close()
    assert not thread.is_alive()


def test_guests_over_their_rings(tmp_path: Path) -> None:
    with Hypervisor(tmp_path) as hv:
        guests = [hv.domain(64), hv.domain(64)]
        wires = [wire_store(hv, guest) for guest in guests]
        with running(hv, str(tmp_path / "socket")) as tools:
            released: list[str] = []
            tools.watch("@releaseDomain", released.append)
            clients = []
            for guest, (gfn, port) in zip(guests, wires, strict=True):
                tools.mkdir(f"/local/domain/{guest.domid}/data")
                tools.set_perms(f"/local/domain/{guest.domid}/data", [f"n{guest.domid}"])
                tools.call(requests.introduce(guest.domid, gfn, port))
                page = guest.memory.own_page(gfn)
                transport = RingTransport(page, port, guest.events, guest.vcpu, 20.0)
                clients.append(StoreClient(transport))
            one, two = clients
            seen: list[str] = []
            one.watch("data", seen.append)
            one.write("data/long", "x" * 2000)
            assert tools.read(f"/local/domain/{guests[0].domid}/data/long") == "x" * 2000
            tools.write(f"/local/domain/{guests[0].domid}/data/from-dom0", "1")
            wanted = ["data", "data/long", "data/from-dom0"]
            guests[0].wait(lambda: seen == wanted, 20, "events on the ring")

            # The second guest lies about its index: it is cut off, the first goes on.
            two.write("data/a", "1")
            page = guests[1].memory.own_page(wires[1][0])
            page[xs_wire.REQ_PROD : xs_wire.REQ_PROD + 4] = b"\xff\xff\xff\x7f"
            guests[1].events.notify(wires[1][1])
            field = page[xs_wire.ERROR : xs_wire.ERROR + 4]
            while bytes(field) == bytes(4):
                guests[1].vcpu.block(1.0, port=wires[1][1])
            assert field[0] == xs_wire.XENSTORE_ERROR_RINGIDX
            one.write("data/still", "here")

            tools.poll(0)
            del released[:]
            guests[0].hypercall.call(HYPERVISOR_sched_op, SCHEDOP_shutdown, SHUTDOWN_poweroff)
            while not released:
                assert tools.poll(20)
            assert released == ["@releaseDomain"]
            assert tools.call(requests.is_domain_introduced(guests[0].domid))
