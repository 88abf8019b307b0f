"""What either half says of itself in the store, read as coming from a stranger."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from hvsim.abi.blkif import SECTOR_SIZE, VDISK_CDROM, VDISK_READONLY
from hvsim.abi.xenbus import XEN_IO_PROTO_ABI_NATIVE
from hvsim.drivers.block.protocol import MAX_RING_PAGE_ORDER, MAX_SECTORS, Features
from hvsim.drivers.block.ring import RingKeys
from hvsim.drivers.split import numbers
from hvsim.drivers.split.handshake import RingRefused
from hvsim.names.number import unsigned

if TYPE_CHECKING:
    from hvsim.drivers.block.image import Medium

PROPERTIES: Final = (
    "sectors", "info", "sector-size", "physical-sector-size", "feature-barrier",
    "feature-flush-cache", "feature-discard", "discard-granularity", "discard-alignment",
    "discard-secure", "feature-persistent", "feature-max-indirect-segments",
)  # fmt: skip
"""Keys of the backend's directory, in the order in which they are read."""


def spins(args: Mapping[str, object]) -> bool:
    """Whether the disks of a domain with these *args* poll before they sleep: not with
    ``vbd = { spin = false }``, which always sleeps, as a real guest does."""
    options = args.get("vbd")
    return not isinstance(options, Mapping) or bool(options.get("spin", True))


def number(text: str | None, default: int = 0) -> int:
    """A number of 64 bits that a peer wrote; `default` for anything that is none."""
    return numbers.number(text, default, most=numbers.U64)


def parse_features(values: list[str | None]) -> Features | None:
    """The backend's properties, checked; None when they describe no disk."""
    found = dict(zip(PROPERTIES, values, strict=True))
    sectors = number(found["sectors"], -1)
    sector_size = number(found["sector-size"], SECTOR_SIZE)
    if not 0 <= sectors <= MAX_SECTORS or found["info"] is None:
        return None
    if sector_size < SECTOR_SIZE or sector_size > 4096 or sector_size & (sector_size - 1):
        return None
    return Features(
        sectors=sectors,
        sector_size=sector_size,
        physical_sector_size=number(found["physical-sector-size"], sector_size),
        info=number(found["info"]),
        barrier=number(found["feature-barrier"]) != 0,
        flush=number(found["feature-flush-cache"]) != 0,
        discard=number(found["feature-discard"]) != 0,
        discard_granularity=number(found["discard-granularity"]),
        discard_alignment=number(found["discard-alignment"]),
        discard_secure=number(found["discard-secure"]) != 0,
        persistent=number(found["feature-persistent"]) != 0,
        max_indirect_segments=number(found["feature-max-indirect-segments"]),
    )


def properties(image: Medium, *, discard: int, cdrom: bool) -> dict[str, str | int]:
    """What a backend publishes of its disk when it connects, in Linux' order.

    Args:
        discard: bytes of a unit that can be discarded, 0 for none.
    """
    # Nobody writes to a read-only disk, so there is nothing to flush (recording 44).
    writes = int(not image.readonly)
    keys: dict[str, str | int] = {"feature-flush-cache": writes}
    if discard:
        keys |= {
            "discard-granularity": discard,
            "discard-alignment": 0,
            "discard-secure": 0,
            "feature-discard": 1,
        }
    info = VDISK_READONLY if image.readonly else 0
    if cdrom:
        info |= VDISK_CDROM
    return keys | {
        "feature-barrier": writes,
        "feature-persistent": 1,
        "sectors": image.sectors,
        "info": info,
        "sector-size": image.sector_size,
        "physical-sector-size": image.physical_sector_size,
    }


def ring_keys(read: Callable[[str], str | None], where: str) -> RingKeys:
    """The ring as the frontend at *where* wrote it, read in Linux' order.  Raises: RingRefused."""
    protocol = read("protocol")
    if protocol not in (None, XEN_IO_PROTO_ABI_NATIVE):
        raise RingRefused(errno.ENOSYS, f"unknown fe protocol {protocol[:64]}")
    persistent = (read("feature-persistent") or "0") != "0"
    queues = read("multi-queue-num-queues")
    if queues is not None and queues != "1":
        raise RingRefused(
            errno.ENOSYS, f"guest requested {queues[:10]} queues, exceeding the maximum of 1."
        )
    order_text = read("ring-page-order")
    port = unsigned(read("event-channel"))
    if port is None:
        raise RingRefused(errno.EINVAL, f"reading {where}/event-channel")
    if order_text is None:
        names = ["ring-ref"]
    else:
        order = unsigned(order_text)
        if order is None or order > MAX_RING_PAGE_ORDER:
            raise RingRefused(
                errno.EINVAL,
                f"requested ring page order {order_text[:10]} exceed max:{MAX_RING_PAGE_ORDER}",
            )
        names = [f"ring-ref{number}" for number in range(1 << order)]
    refs = []
    for name in names:
        ref = unsigned(read(name))
        if ref is None:
            raise RingRefused(errno.EINVAL, f"reading {where}/{name}")
        refs.append(ref)
    return RingKeys(refs, port, persistent)
