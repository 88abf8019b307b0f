"""Programs of guests that do one thing wrong each; beside the lab file, by their names."""

PROGRAMS = '''
import time
from contextlib import suppress

from hvsim.abi.ring import REQ_EVENT
from hvsim.drivers.block.front import BlockFront

DISK = "device/vbd/51712"


def opened(dom):
    BlockFront.register(dom)
    disk = BlockFront.open(dom, "xvda")
    disk.read(0, 8)
    return disk


def reader(dom):
    """Reads without rest, and waits for each answer."""
    disk = opened(dom)
    dom.ready()
    while dom.shutdown_requested is None:
        disk.read(0, 8)
        dom.sleep(0.02)


def shy(dom):
    """Never opens its disk."""
    dom.ready()
    dom.serve()


def gone(dom):
    """Takes its half of the disk away while that is in use."""
    opened(dom)
    dom.store.rm(DISK)
    dom.ready()
    dom.serve()


def circular(dom):
    """Says that it has done all of its part, and waits for the backend, which has begun."""
    dom.ready()
    back = dom.store.read(f"{DISK}/backend")
    while dom.store.read(f"{back}/state") != "2":
        dom.sleep(0.02)
    dom.store.write(f"{DISK}/state", "3")
    dom.serve()


def halfway(dom):
    """A backend that says the same of its own part."""
    from hvsim.xs.errors import StoreNotFound

    dom.ready()
    while dom.shutdown_requested is None:
        with suppress(StoreNotFound):  # it may be here before the device is, and after
            for domid in dom.store.directory("backend/vbd"):
                half = f"backend/vbd/{domid}/51712"
                state = dom.store.read(f"{half}/state")
                front = dom.store.read(f"/local/domain/{domid}/{DISK}/state")
                if state == "1":
                    dom.store.write(f"{half}/state", "2")
                elif state == "2" and front == "3":
                    dom.store.write(f"{half}/state", "3")
        dom.sleep(0.05)


def deaf(dom):
    """Fills its ring and looks at no answer."""
    disk = opened(dom)
    dom.ready()
    for sector in range(40):
        disk.submit(0, sector, 1)
    time.sleep(600)


def asleep(connection):
    """Whether the backend looks no more: it wants to be woken at the next request."""
    wanted = int.from_bytes(connection.page[REQ_EVENT : REQ_EVENT + 4], "little")
    return wanted == connection.ring.req_prod_pvt + 1


def mute(dom):
    """Puts a request into its ring and does not ring the bell."""
    disk = opened(dom)
    disk._notify = lambda port: None
    dom.ready()
    while not asleep(disk.connection):
        dom.sleep(0.001)
    disk.read(0, 8)
    dom.store.write("data/answered", "1")
    dom.serve()


def greedy(dom):
    """Writes nodes until the store has enough of it."""
    from hvsim.xs.requests import StoreError

    dom.ready()
    try:
        for number in range(100000):
            dom.store.write(f"data/{number // 100}/{number}", "x")
    except StoreError:
        pass
    dom.serve()
'''
