"""What either half says of itself in the store, read as coming from a stranger."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hvsim.drivers.net.ring import QueueKeys
from hvsim.drivers.split.handshake import RingRefused
from hvsim.drivers.split.numbers import flag, number

MAX_QUEUES: Final = 4
"""Queues of one vif that netback offers."""
FRONT_KEYS: Final = (
    "request-rx-copy",
    "feature-rx-notify",
    "feature-sg",
    "feature-gso-tcpv4",
    "feature-gso-tcpv6",
    "feature-no-csum-offload",
    "feature-ipv6-csum-offload",
    "feature-persistent",
    "request-multicast-control",
)
"""What netback reads of a frontend."""
BACK_KEYS: Final = (
    "feature-split-event-channels",
    "multi-queue-max-queues",
    "feature-persistent",
    "feature-sg",
    "feature-gso-tcpv4",
    "feature-gso-tcpv6",
)
"""What netfront reads of a backend."""
BACK_OFFERS: Final[dict[str, str | int]] = {
    "feature-sg": 1,
    "feature-gso-tcpv4": 1,
    "feature-gso-tcpv6": 1,
    "feature-ipv6-csum-offload": 1,
    "feature-rx-copy": 1,
    "feature-rx-flip": 0,
    "feature-multicast-control": 1,
    "feature-dynamic-multicast-control": 1,
}
"""What netback publishes in one transaction, before its queues and split event channels."""
FRONT_OFFERS: Final[dict[str, str | int]] = {
    "request-rx-copy": 1,
    "feature-rx-notify": 1,
    "feature-sg": 1,
    "feature-gso-tcpv4": 1,
    "feature-gso-tcpv6": 1,
    "feature-ipv6-csum-offload": 1,
}
"""What netfront publishes behind its rings."""


@dataclass(frozen=True, slots=True)
class FrontFeatures:
    """What a frontend takes and asks for."""

    rx_copy: bool
    sg: bool
    gso_tcpv4: bool
    gso_tcpv6: bool
    checksum: bool
    persistent: bool
    multicast_control: bool

    @classmethod
    def of(cls, values: list[str | None]) -> FrontFeatures:
        """From the values of FRONT_KEYS."""
        said = dict(zip(FRONT_KEYS, (flag(value) for value in values), strict=True))
        return cls(
            rx_copy=said["request-rx-copy"],
            sg=said["feature-sg"],
            gso_tcpv4=said["feature-gso-tcpv4"] and said["feature-sg"],
            gso_tcpv6=said["feature-gso-tcpv6"] and said["feature-sg"],
            checksum=not said["feature-no-csum-offload"],
            persistent=said["feature-persistent"],
            multicast_control=said["request-multicast-control"],
        )


@dataclass(frozen=True, slots=True)
class BackFeatures:
    """What a backend offers.

    Attributes:
        max_queues: None when it does not know of queues.
    """

    split: bool
    max_queues: int | None
    persistent: bool
    gso_tcpv4: bool
    gso_tcpv6: bool

    @classmethod
    def of(cls, values: list[str | None]) -> BackFeatures:
        """From the values of BACK_KEYS."""
        said = dict(zip(BACK_KEYS, values, strict=True))
        most = said["multi-queue-max-queues"]
        chained = flag(said["feature-sg"])
        return cls(
            split=flag(said["feature-split-event-channels"]),
            max_queues=None if most is None else number(most, 1),
            persistent=flag(said["feature-persistent"]),
            gso_tcpv4=chained and flag(said["feature-gso-tcpv4"]),
            gso_tcpv6=chained and flag(said["feature-gso-tcpv6"]),
        )


def nr_queues(text: str | None) -> int:
    """``multi-queue-num-queues``.  Raises RingRefused as netback does."""
    wanted = 1 if text is None else number(text, -1)
    if not 1 <= wanted <= MAX_QUEUES:
        raise RingRefused(
            errno.EINVAL,
            f"guest requested {(text or '')[:10]} queues, exceeding the maximum of {MAX_QUEUES}.",
        )
    return wanted


def queue_keys(read: Callable[[str], str | None], prefix: str, where: str) -> QueueKeys:
    """The rings and ports of one queue, in Linux' order.  Raises RingRefused."""
    refs = []
    for ring in ("tx", "rx"):
        ref = number(read(f"{prefix}{ring}-ring-ref"), -1)
        if ref < 0:
            raise RingRefused(errno.EINVAL, f"reading {where}/ring-ref")
        refs.append(ref)
    tx_text, rx_text = read(f"{prefix}event-channel-tx"), read(f"{prefix}event-channel-rx")
    if tx_text is None and rx_text is None:
        tx_text = rx_text = read(f"{prefix}event-channel")
    tx, rx = number(tx_text, -1), number(rx_text, -1)
    if tx < 0 or rx < 0:
        raise RingRefused(errno.EINVAL, f"reading {where}/event-channel(-tx/rx)")
    return QueueKeys(refs[0], refs[1], tx, rx)
