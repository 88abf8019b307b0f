"""What a diagnosis looks at.  Plain data: it is kept in a post-mortem as it is."""

from typing import Any, Final, TypedDict

from msgspec import Struct, field

from hvsim.abi.ring import INDEX_MASK
from hvsim.observe.rows import Picture

Record = dict[str, Any]
"""A record of the ledger."""

LOOKED_AT: Final = frozenset(
    {
        *("fault", "fault.added", "fault.fired", "fault.removed", "fault.refused"),
        *("domain.dying", "domain.zombie", "domain.shutdown"),
        *("event.dropped", "store.quota", "store.lost"),
        *("init.restart", "init.given-up", "toolstack.restart", "toolstack.given-up"),
    }
)
"""Kinds of records that say why somebody waits."""


class Ring(TypedDict):
    """The header of a device's ring (xen/io/ring.h), and how many slots it has; whether it moved
    between two looks, and which of its halves (frontend, backend) are at work: who was rung is."""

    domid: int
    kind: str
    devid: int
    req_prod: int
    req_event: int
    rsp_prod: int
    rsp_event: int
    slots: int | None
    moved: bool
    awake: list[str]


class Step(TypedDict):
    """The last that a half of a device did in the store; seconds of the monotonic clock."""

    mono: float
    writer: str
    text: str


class StandingRule(TypedDict):
    """A rule of a fault that stands; handles as people write them (uuid)."""

    number: int
    text: str
    domain: str
    process: str
    peer: str | None
    seam: str
    settings: dict[str, Any]
    times: int
    fired: int
    last: str
    trouble: str
    since: float


class Facts(Struct, frozen=True):
    """One look at a host.

    Attributes:
        picture: who is there, with what each holds.
        now: seconds of the monotonic clock.
        ledger: those records of it that are `LOOKED_AT`, the oldest first.
        rings: of the devices that are connected.
        steps: of devices that are not: (domid, kind, number) as "2/vbd/51712" -> half -> its last.
        rules: those that stand.
        ended: why the lab is no more, "" while it runs.
    """

    picture: Picture
    now: float
    ledger: list[Record] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    steps: dict[str, dict[str, Step]] = field(default_factory=dict)
    rules: list[StandingRule] = field(default_factory=list)
    ended: str = ""


def untaken_requests(ring: Ring) -> int:
    """Requests behind the one at which the backend wanted to be woken: it has not looked at them.

    0 as well when the index makes no sense: the page is the guest's, who may write anything."""
    return _passed(ring["req_prod"], ring["req_event"], ring["slots"])


def untaken_answers(ring: Ring) -> int:
    """The same of responses, and of the frontend."""
    return _passed(ring["rsp_prod"], ring["rsp_event"], ring["slots"])


def unanswered(ring: Ring) -> int:
    """Requests without a response; 0 as well when the indices make no sense."""
    count = (ring["req_prod"] - ring["rsp_prod"]) & INDEX_MASK
    return count if count <= _most(ring["slots"]) else 0


def in_use(ring: Ring) -> int:
    """Slots that hold a request without a response, or a response that nobody took."""
    return unanswered(ring) + untaken_answers(ring)


def _passed(produced: int, event: int, slots: int | None) -> int:
    count = (produced - event + 1) & INDEX_MASK
    return count if 0 < count <= _most(slots) else 0


def _most(slots: int | None) -> int:
    return slots or 1 << 16
