"""What only the outside of the store can do, and a store that has no outside."""

from __future__ import annotations

from typing import Protocol

from hvsim.abi.errno import EINVAL, ENOSYS
from hvsim.xenstore.rules.errors import Refused


class Host(Protocol):
    """The outside of the store."""

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        """Map the ring of *domid* and listen to its port.  Raises Refused(EINVAL) when it has
        none."""

    def rebind_domain(self, domid: int, port: int) -> None:
        """The domain has a new event channel.  Raises Refused(EINVAL)."""

    def disconnect_domain(self, domid: int) -> None:
        """Unmap the ring."""

    def live_update(self, timeout: float) -> None:
        """Replace the daemon, within *timeout* seconds.  Raises Refused(ENOSYS) when it cannot."""

    def domain_exists(self, domid: int) -> bool:
        """Whether the hypervisor has such a domain, which may not be introduced yet: a toolstack
        gives it nodes before."""


class NoHost:
    """A store that stands alone: there are no domains to connect."""

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        """Refused: there is no hypervisor."""
        raise Refused(EINVAL)

    def rebind_domain(self, domid: int, port: int) -> None:
        """Refused: there is no hypervisor."""
        raise Refused(EINVAL)

    def disconnect_domain(self, domid: int) -> None:
        """Nothing to do."""

    def live_update(self, timeout: float) -> None:
        """Refused: nothing is kept."""
        raise Refused(ENOSYS)

    def domain_exists(self, domid: int) -> bool:
        """There are none."""
        return False
