"""All of them."""

from typing import Final

from tests.mutants import (
    clients,
    config,
    devices,
    hypervisor,
    lockstep,
    queues,
    rings,
    store,
    vcpus,
)
from tests.mutants.fault import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *hypervisor.FAULTS,
    *vcpus.FAULTS,
    *store.FAULTS,
    *clients.FAULTS,
    *rings.FAULTS,
    *devices.FAULTS,
    *queues.FAULTS,
    *lockstep.FAULTS,
    *config.FAULTS,
)
