"""What either half says of itself in the store, read as coming from a stranger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hvsim.drivers.net.attachment import QueueKeys
from hvsim.names.number import unsigned

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


class Refused(Exception):
    """What the frontend published cannot be used: `number` (errno) and text of the error node.

    Attributes:
        before: (number, text) of what the error node says before that.
    """

    def __init__(self, number: int, text: str, before: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(text)
        self.number = number
        self.before = tuple(before)


def number(text: str | None, default: int = 0) -> int:
    """A number of at most 32 bits that a peer wrote; `default` for anything that is none."""
    value = unsigned(text)
    return default if value is None else value


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
        said = dict(zip(FRONT_KEYS, (number(value) != 0 for value in values), strict=True))
        return cls(
            rx_copy=said["request-rx-copy"],
            sg=said["feature-sg"],
            gso_tcpv4=said["feature-gso-tcpv4"] and said["feature-sg"],
            gso_tcpv6=said["feature-gso-tcpv6"] and said["feature-sg"],
            checksum=not said["feature-no-csum-offload"],
            persistent=said["feature-persistent"],
            multicast_control=said["request-multicast-control"],
        )


def nr_queues(text: str | None) -> int:
    """``multi-queue-num-queues``.  Raises Refused as netback does."""
    wanted = 1 if text is None else number(text, -1)
    if not 1 <= wanted <= MAX_QUEUES:
        raise Refused(
            22,
            f"guest requested {(text or '')[:10]} queues, exceeding the maximum of {MAX_QUEUES}.",
        )
    return wanted


def queue_keys(read: Callable[[str], str | None], prefix: str, where: str) -> QueueKeys:
    """The rings and ports of one queue, in Linux' order.  Raises Refused."""
    refs = []
    for ring in ("tx", "rx"):
        ref = number(read(f"{prefix}{ring}-ring-ref"), -1)
        if ref < 0:
            raise Refused(22, f"reading {where}/ring-ref")
        refs.append(ref)
    tx_text, rx_text = read(f"{prefix}event-channel-tx"), read(f"{prefix}event-channel-rx")
    if tx_text is None and rx_text is None:
        tx_text = rx_text = read(f"{prefix}event-channel")
    tx, rx = number(tx_text, -1), number(rx_text, -1)
    if tx < 0 or rx < 0:
        raise Refused(22, f"reading {where}/event-channel(-tx/rx)")
    return QueueKeys(refs[0], refs[1], tx, rx)
