"""What a record of the journal says: its first item, and what follows it.

Records are msgpack lists; a snapshot is the list of records that makes an empty store into the
one that it is of.  Written by ``recorder``, applied by ``recovery``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hvsim.xenstore.rules.permissions import Permissions

Record = tuple[object, ...]

GENERATION: Final = 0
"""(n): generations from here on are larger than *n*."""
PUT: Final = 1
""":class:`Put`"""
REMOVE: Final = 2
"""(path): the node and all below it."""
WATCH: Final = 3
""":class:`Watched`"""
UNWATCH: Final = 4
""":class:`Unwatched`"""
DOMAINS: Final = 5
""":class:`Domains`"""
LIFE: Final = 7
"""(n): the store is served by its n-th process."""
STREAM: Final = 6
""":class:`Moved`"""


class Put(NamedTuple):
    """A node that is set."""

    path: bytes
    value: bytes
    perms: Permissions


class Unwatched(NamedTuple):
    """A watch of a ring that has gone."""

    domid: int
    path: bytes
    token: bytes


class Watched(NamedTuple):
    """A new watch of a ring."""

    domid: int
    path: bytes
    prefix: int
    token: bytes


class Introduced(NamedTuple):
    """A domain that was introduced: its event channel, whether its end was told, and for whom it
    may act."""

    domid: int
    port: int
    shutdown: bool
    target: int


class Domains(NamedTuple):
    """All that is small and rarely changes, as a whole."""

    domains: tuple[Introduced, ...]
    known: tuple[int, ...]
    special: tuple[tuple[bytes, Permissions], ...]
    limits: dict[str, int]


class Moved(NamedTuple):
    """Where a ring stands: ``req_cons`` before and after, the input that is kept, ``rsp_prod``, the
    output with its position, and the open transactions."""

    domid: int
    before: int
    after: int
    kept: bytes
    start: int
    position: int
    out: bytes
    transactions: tuple[int, ...]
