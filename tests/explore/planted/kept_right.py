"""A permission left after a domain number is used again: the store forgets a domain and not what
others have allowed it (XSA-322)."""

from __future__ import annotations

from collections.abc import Callable

from hvsim.domain.injection import Fault
from hvsim.faults.inject.swap import swap
from hvsim.xenstore.rules.tree import Tree


def plant(_fault: Fault) -> Callable[[], None]:
    """In the store."""
    return swap((Tree, "forget_domain", lambda _tree, _domid: None))
