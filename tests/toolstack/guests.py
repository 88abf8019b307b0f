"""Programs of domains, for tests of the toolstack."""

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
