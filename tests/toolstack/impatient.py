"""The toolstack with the times cut short that a guest, or a script, has to do something."""

from hvsim.domain.domain import Domain
from hvsim.toolstack.daemon import daemon
from hvsim.toolstack.devices import detach, scripts
from hvsim.toolstack.xl import power


def main(dom: Domain) -> None:
    power.ACK_TIMEOUT = 0.3  # type: ignore[misc]
    detach.DESTROY_TIMEOUT = 0.3  # type: ignore[misc]
    scripts.TIMEOUT = 1.0  # type: ignore[misc]
    daemon.main(dom)
