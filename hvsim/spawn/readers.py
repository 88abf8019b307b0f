"""What reads the messages of a birth and of the first hypercalls, made before the first fork.

msgspec looks at a class when the first message of it is read: it resolves the types of all fields,
and keeps what it has found.  Done in a child that is a third of a MiB of pages which nobody shares.
"""

from collections.abc import Sequence
from typing import Final

from hvsim.domain.mapper import Mapped
from hvsim.wire.answers import StartInfo
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage, read

KINDS: Final[Sequence[type]] = (Spawn, StartInfo, Mapped)
"""Those that every child reads."""


def make() -> None:
    """Read a message of each kind; what it says does not matter."""
    for kind in KINDS:
        try:
            read(kind, {})
        except BadMessage:  # it has no defaults
            continue
