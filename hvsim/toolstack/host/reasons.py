"""What failures of others say to a person.  Apart from ``errors``: who only says no needs neither a
store nor a hypervisor."""

import errno

from hvsim import shortage
from hvsim.domain.hypercall import HypercallError
from hvsim.xs.requests import StoreError


def reason(failure: Exception) -> str:
    """What an error of the store, of the hypervisor or of the machine says to a person."""
    if isinstance(failure, HypercallError) and failure.errno == errno.EMFILE:
        return f"{shortage.no_files()} ({failure})"
    if isinstance(failure, OSError) and not isinstance(failure, StoreError | HypercallError):
        return shortage.told(failure) or str(failure)
    return str(failure)
