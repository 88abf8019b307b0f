"""Programs of domains, for tests of the toolstack."""

import os

from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront


def crash(dom: Domain) -> None:
    """End badly."""
    raise RuntimeError("test crash")


def echo(dom: Domain) -> None:
    """Repeat what is typed on the console."""
    dom.console.on_line(lambda line: dom.console.write(f"heard: {line}\n"))
    dom.ready()
    dom.serve()


def flood(dom: Domain) -> None:
    """Write to the console as fast as it goes."""
    line = "x" * 99 + "\n"
    while dom.shutdown_requested is None:
        for _ in range(100):
            dom.console.write(line)
        dom.sleep(0.001)


def read_for_ever(dom: Domain) -> None:
    """One read after the other."""
    BlockFront.register(dom)
    disk = BlockFront.open(dom, "xvda")
    dom.ready()
    while dom.shutdown_requested is None:
        disk.read(0, 8)


def write_all(dom: Domain) -> None:
    """Write to every disk, read it back, and say that it was the same."""
    BlockFront.register(dom)
    for name in dom.store.directory("device/vbd"):
        disk = BlockFront.open(dom, name)
        data = bytes(range(256)) * 2 * 300  # more than a page, more than eleven segments
        disk.write(8, data)
        disk.barrier(1000, b"b" * 512)
        disk.discard(2000, 8)
        disk.flush()
        assert disk.read(8, 300) == data
        assert disk.read(1000, 1) == b"b" * 512
    dom.ready("the same")
    dom.serve()


def borrow(dom: Domain) -> None:
    """A block backend that goes no further than InitWait, and asks for a file again and again."""
    from hvsim.drivers.block.back import BlockBack
    from hvsim.drivers.block.sources import borrow as ask

    BlockBack.register(dom)
    dom.ready()
    while dom.shutdown_requested is None:
        try:
            os.close(ask(dom, str(dom.args["path"]), readonly=False))
            given = "a file"
        except OSError:
            given = "nothing"
        dom.store.write("data/given", given)
        dom.sleep(0.05)
