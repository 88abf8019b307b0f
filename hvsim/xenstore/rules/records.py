"""What a record of the journal says: its first item, and what follows it.

Records are msgpack lists; a snapshot is the list of records that makes an empty store into the
one that it is of.  Written by ``recorder``, applied by ``recovery``.
"""

from __future__ import annotations

from typing import Any, Final

Record = tuple[Any, ...]

GENERATION: Final = 0
"""(n): generations from here on are larger than *n*."""
PUT: Final = 1
"""(path, value, permissions)"""
REMOVE: Final = 2
"""(path): the node and all below it."""
WATCH: Final = 3
"""(domid, path, prefix, token) of a ring."""
UNWATCH: Final = 4
"""(domid, path, token)"""
DOMAINS: Final = 5
"""(domains, known, special nodes, limits): all that is small and rarely changes, as a whole."""
LIFE: Final = 7
"""(n): the store is served by its n-th process."""
STREAM: Final = 6
"""(domid, req_cons before, after, kept input, rsp_prod, position of output, output, transactions)
"""
