"""What a journal says of the store, for whoever looks at it from outside: its nodes."""

from __future__ import annotations

from collections.abc import Iterator

from hvsim.xenstore.journal import file as journal
from hvsim.xenstore.journal.recovery import JournalError, Recovery
from hvsim.xenstore.rules.store import Store

__all__ = ["JournalError", "nodes"]


def nodes(path: str) -> Iterator[tuple[bytes, bytes]]:
    """Path and value of every node, parents first; none but the root without a journal.

    Raises: OSError; JournalError.
    """
    store = Store()
    Recovery(store).replay(journal.read(path))
    for name in store.tree.walk(b"/"):
        yield name, store.tree.nodes[name].value
