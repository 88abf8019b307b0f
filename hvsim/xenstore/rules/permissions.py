"""Who may do what with a node.

Permissions are a tuple of :class:`Entry`.  The first names the owner, who may do everything, and
the right of everybody who is not named; each further one gives one domain its right.  Dom0 may do
everything.  Source: docs/misc/xenstore.txt, ``perm_for_conn`` of xenstored.

A right belongs to the domain that had the domid when it was given: :func:`without_domain` marks
entries of a domain that has gone, so that a later domain with the same number inherits nothing
(XSA-322); what a gone domain owned belongs to dom0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hvsim.abi.errno import EINVAL
from hvsim.xenstore.rules.errors import Refused

READ: Final = 1
WRITE: Final = 2
OWNER: Final = 4
ALL: Final = READ | WRITE | OWNER

PRIVILEGED_DOMID: Final = 0
_DOMID_MAX: Final = 0xFFFF
_LETTERS: Final = {b"n": 0, b"r": READ, b"w": WRITE, b"b": READ | WRITE}
_NAMES: Final = {bits: letter for letter, bits in _LETTERS.items()}


class Entry(NamedTuple):
    """A right of one domain.

    Attributes:
        domid: whose.
        bits: READ, WRITE, both, or 0.
        ignored: the domain did not exist when the entry was made, or has gone since.
    """

    domid: int
    bits: int
    ignored: bool = False


Permissions = tuple[Entry, ...]

DEFAULT: Final[Permissions] = (Entry(PRIVILEGED_DOMID, 0),)
"""``(n0)``: of the root and of the special nodes."""


def access(perms: Permissions, domid: int, target: int = -1) -> int:
    """What *domid* (which may act for *target*) may do: an or of READ, WRITE, OWNER."""
    if domid == PRIVILEGED_DOMID:
        return ALL
    owner = perms[0]
    if not owner.ignored and (owner.domid == domid or owner.domid == target):
        return ALL
    for entry in perms[1:]:
        if (entry.domid == domid or entry.domid == target) and not entry.ignored:
            return entry.bits
    return owner.bits


def inherited(perms: Permissions, creator: int) -> Permissions:
    """Permissions of a new node below one with *perms*: the same, but an unprivileged domain
    owns what it makes."""
    if creator == PRIVILEGED_DOMID or perms[0].domid == creator:
        return perms
    return (Entry(creator, perms[0].bits), *perms[1:])


def parse(texts: Sequence[bytes], exists: Callable[[int], bool]) -> Permissions:
    """Permissions from ``n0 r1``.  Entries of domains that do not exist are marked.

    Raises: Refused(EINVAL) for a bad letter or number, or without any entry.
    """
    if not texts:
        raise Refused(EINVAL)
    entries = []
    for text in texts:
        bits = _LETTERS.get(text[:1])
        digits = text[1:]
        if bits is None or not digits.isdigit() or len(digits) > 5 or int(digits) > _DOMID_MAX:
            raise Refused(EINVAL)
        domid = int(digits)
        entries.append(Entry(domid, bits, not exists(domid)))
    return tuple(entries)


def render(perms: Permissions) -> bytes:
    """``n0\\0r1\\0``."""
    return b"".join(b"%s%d\0" % (_NAMES[entry.bits], entry.domid) for entry in perms)


def without_domain(perms: Permissions, domid: int) -> Permissions:
    """*perms* after domain *domid* has gone; the same object when it was not named."""
    if all(entry.domid != domid or entry.ignored for entry in perms):
        return perms
    changed = [entry._replace(ignored=True) if entry.domid == domid else entry for entry in perms]
    if perms[0].domid == domid:
        changed[0] = Entry(PRIVILEGED_DOMID, perms[0].bits)
    return tuple(changed)
