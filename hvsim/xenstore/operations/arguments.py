"""What a request carries, taken apart.

Each function raises Refused(EINVAL) for a payload of another form, but for ``node_name``.
"""

from __future__ import annotations

from typing import Final

from hvsim.abi.errno import EACCES, EINVAL, ENOENT
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.session import Session

OK: Final = b"OK\0"
"""The answer of what has nothing else to say."""


def one(payload: bytes) -> bytes:
    """The only string of a payload."""
    if payload.find(b"\0") != len(payload) - 1 or not payload:
        raise Refused(EINVAL)
    return payload[:-1]


def node_name(payload: bytes) -> bytes:
    """The only string of a payload, which names a node.

    Raises: Refused(ENOENT) where it lacks its NUL, or there is more: the C daemon reads no name
        then, and answers that there is no such node (recording 86).
    """
    if payload.find(b"\0") != len(payload) - 1 or not payload:
        raise Refused(ENOENT)
    return payload[:-1]


def strings(payload: bytes, minimum: int, maximum: int | None = None) -> list[bytes]:
    """The strings of a payload that ends with a NUL."""
    if payload[-1:] != b"\0":
        raise Refused(EINVAL)
    parts = payload[:-1].split(b"\0")
    if len(parts) < minimum or (maximum is not None and len(parts) > maximum):
        raise Refused(EINVAL)
    return parts


def number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Refused(EINVAL)
    return int(text)


def privileged(session: Session) -> None:
    if session.domid != perm.PRIVILEGED_DOMID:
        raise Refused(EACCES)
