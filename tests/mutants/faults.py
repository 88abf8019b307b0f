"""All of them."""

from typing import Final

from tests.mutants import config, devices, hypervisor, rings, store
from tests.mutants.fault import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *hypervisor.FAULTS,
    *store.FAULTS,
    *rings.FAULTS,
    *devices.FAULTS,
    *config.FAULTS,
)
