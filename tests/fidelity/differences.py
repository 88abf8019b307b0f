"""THE table: where a lab differs from the recorded host, and why.

Everything else is the same: paths, keys, values, owners, permissions, who writes, and the order
in which each of them writes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.fidelity.recording import Entry


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests that only one side makes, or whose values are not compared.

    Attributes:
        where: "there" (only the real host), "here" (only the lab), "value" (both, other values),
            "order" (both, at another place in the row).
        path: a pattern for the whole path.
        why: the reason.
    """

    where: str
    path: str
    why: str
    who: str = ".*"

    def covers(self, entry: Entry) -> bool:
        """Whether *entry* is one of these."""
        return bool(re.fullmatch(self.who, entry.who) and re.fullmatch(self.path, entry.path))


BACK = r"/local/domain/0/backend/vbd/[A-Z]/\d+"
FRONT = r"/local/domain/[A-Z]/device/vbd/\d+"
VIF_BACK = r"/local/domain/0/backend/vif/[A-Z]/\d+"
VIF_FRONT = r"/local/domain/[A-Z]/device/vif/\d+"

DIFFERENCES = (
    Difference(
        "there",
        rf"{FRONT}/(multi-queue-num-queues|queue-1/.*)",
        "a mini-OS has one queue; the recorded guest had two",
        "domU",
    ),
    Difference(
        "there",
        r"/local/domain/[A-Z]/control/feature-suspend",
        "a mini-OS cannot be suspended and does not offer it",
        "domU",
    ),
    Difference(
        "value",
        r"/local/domain/[A-Z]/control/feature-suspend",
        "the same, in the store: it stays empty",
        "XL",
    ),
    Difference(
        "here",
        r"/local/domain/[A-Z]/data/health(-detail)?",
        "a lab is ready when its guests say so; a kernel does not",
        "domU",
    ),
    Difference("value", rf"{BACK}/multi-queue-max-queues", "one queue"),
    Difference(
        "value",
        rf"{BACK}/(node|physical-device|physical-device-path)",
        "the image itself; there is no loop device",
    ),
    Difference(
        "value",
        rf"{FRONT}/(queue-0/)?(ring-ref|event-channel)",
        "grant references and ports are made equal",
    ),
    Difference(
        "there", rf"{VIF_FRONT}/queue-1/.*", "a mini-OS has one queue unless told otherwise", "domU"
    ),
    Difference("value", rf"{VIF_FRONT}/multi-queue-num-queues", "one queue"),
    Difference("value", rf"{VIF_BACK}/multi-queue-max-queues", "four, on any number of CPUs"),
    Difference(
        "value",
        rf"{VIF_FRONT}/(queue-0/)?(tx-ring-ref|rx-ring-ref|event-channel-tx|event-channel-rx)",
        "grant references and ports are made equal",
    ),
    Difference("there", rf"{VIF_BACK}/feature-xdp-headroom", "no XDP: no kernel's network driver"),
    Difference("there", rf"{VIF_BACK}/feature-ctrl-ring", "no control ring is offered"),
    Difference(
        "here",
        rf"({VIF_BACK}|{VIF_FRONT})/feature-persistent",
        "pages stay mapped, as between blkfront and blkback",
    ),
    Difference("value", r"/vm/UUID/start_time", "times are made equal"),
    Difference(
        "value",
        r"/local/domain/[A-Z]/(store|console)/(ring-ref|port)",
        "frames and ports are made equal",
    ),
    Difference("value", r"/local/domain/[A-Z]/console/tty", "whichever pty was free"),
    Difference(
        "value",
        rf"{BACK}/(discard-granularity|physical-sector-size)",
        "the block size of the file system below the image",
    ),
    Difference(
        "order",
        r"/libxl/[A-Z]/device|/local/domain/0/backend",
        "there the vif keeps these directories alive until the very end",
    ),
)


def only(where: str, entries: Iterable[Entry]) -> list[Entry]:
    """*entries* without those that the table says are only on side *where*."""
    some = [difference for difference in DIFFERENCES if difference.where == where]
    return [entry for entry in entries if not any(one.covers(entry) for one in some)]


def equalled(entry: Entry) -> Entry:
    """*entry* without a value that the table says may differ; one queue is the whole device."""
    path = re.sub(r"/queue-0/", "/", entry.path)
    free = any(one.where == "value" and one.covers(entry) for one in DIFFERENCES)
    value = "*" if free and entry.verb == "WRITE" else entry.value
    return Entry(entry.who, entry.verb, path, value, entry.error)


def out_of_order(entry: Entry) -> bool:
    """Whether the table says that the place of *entry* in the row means nothing."""
    return entry.verb == "RM" and any(
        one.where == "order" and one.covers(entry) for one in DIFFERENCES
    )
