"""Drivers that a lab has given to a domain (``[[device]]``): registered before its program runs.

A class is loaded when the first device of its kind appears, so that a domain which has none pays
nothing; what goes wrong then is the error of that device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hvsim.domain.loading import load_program
from hvsim.wire.spawn import Drivers

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.xenbus.driver import Back, Front


def register(domain: Domain, drivers: Drivers) -> None:
    """Give the kinds of *drivers* to their classes.

    Args:
        drivers: which class serves which kind.  An instance of it is made of the domain for each
            device, and is a driver (`xenbus/driver.py`).

    Raises: StoreError.
    """
    for kind, reference in drivers.frontends.items():
        domain.frontends.register(kind, _front(domain, reference))
    for kind, reference in drivers.backends.items():
        domain.backends.register(kind, _back(domain, reference))


def _front(domain: Domain, reference: str) -> Callable[[], Front]:
    return lambda: cast("Front", load_program(reference)(domain))


def _back(domain: Domain, reference: str) -> Callable[[], Back]:
    return lambda: cast("Back", load_program(reference)(domain))
