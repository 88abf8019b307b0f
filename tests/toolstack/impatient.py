"""The toolstack with a guest's time to acknowledge cut short, for tests of what happens then."""

from hvsim.domain.domain import Domain
from hvsim.toolstack import daemon
from hvsim.toolstack.xl import power


def main(dom: Domain) -> None:
    power.ACK_TIMEOUT = 0.3  # type: ignore[misc]
    daemon.main(dom)
