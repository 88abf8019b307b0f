"""The generic shared ring: header, size and index arithmetic (xen/io/ring.h).

Indices are free-running 32-bit counters; a slot is the index modulo the ring size, which is a
power of two. Everything here is arithmetic on numbers that the caller has already copied out of
shared memory.
"""

from typing import Final

from hvsim.abi.layout import ByteLayout, Layout

SRING: Final = ByteLayout(
    "struct sring",
    [
        ("req_prod", "I"),
        ("req_event", "I"),
        ("rsp_prod", "I"),
        ("rsp_event", "I"),
        ("pvt", "4s"),
        ("__pad", "44s"),
    ],
)
"""The header in front of the slots; the slots begin at :data:`SRING_RING`."""

REQ_PROD: Final = SRING.offsets["req_prod"]
REQ_EVENT: Final = SRING.offsets["req_event"]
RSP_PROD: Final = SRING.offsets["rsp_prod"]
RSP_EVENT: Final = SRING.offsets["rsp_event"]
SRING_RING: Final = SRING.size

INDEX: Final = Layout("RING_IDX", [("value", "I")])
INDEX_MASK: Final = 0xFFFFFFFF


def ring_size(nr_bytes: int, entry_size: int) -> int:
    """``__CONST_RING_SIZE``: slots of ``entry_size`` bytes in a ring of ``nr_bytes``.

    The largest power of two that fits behind the header; 0 when not even one does.
    """
    slots = (nr_bytes - SRING_RING) // entry_size
    return 1 << (slots.bit_length() - 1) if slots > 0 else 0


def index_add(index: int, count: int) -> int:
    """``index + count`` in 32 bits; ``count`` may be negative."""
    return (index + count) & INDEX_MASK


def index_distance(later: int, earlier: int) -> int:
    """How far ``later`` is ahead of ``earlier``, 0 .. 2**32-1."""
    return (later - earlier) & INDEX_MASK


def should_notify(old: int, new: int, event: int) -> bool:
    """``RING_PUSH_*_AND_CHECK_NOTIFY``: did the push from ``old`` to ``new`` pass ``event``?

    ``event`` is what the peer asked for; it must have been read after the push was made visible
    (a full barrier lies between the two).
    """
    return ((new - event) & INDEX_MASK) < ((new - old) & INDEX_MASK)


def slot_offset(index: int, size: int, entry_size: int) -> int:
    """Where slot ``index`` of a ring of ``size`` slots begins, in bytes from the ring's start."""
    return SRING_RING + (index & (size - 1)) * entry_size


# ---- layout of a freshly made ring (SHARED_RING_INIT) ----


def initial_header() -> bytes:
    """The header of an empty ring: both producers 0, both events 1."""
    return SRING.pack(0, 1, 0, 1, b"", b"")
