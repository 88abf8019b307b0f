"""A guest that has its devices and does nothing with them."""

from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront


def main(dom: Domain) -> None:
    """Connect every disk, be ready, wait for the shutdown."""
    BlockFront.register(dom)
    dom.ready()
    dom.serve()
