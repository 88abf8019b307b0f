"""Every fault that a rule can have: its words, what they mean, and who puts it in place.

The one list: the grammar reads a rule by it, ``hvsim fault list --available`` and the reference in
docs/ print it, the schema of lab files and scenarios takes its keys from it, and a test asks that
each has a test.  Pure data.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Word:
    """One word of a rule, KEY=VALUE.

    Attributes:
        key: before the sign.
        form: what comes after it (`forms`), or the words that may, separated by ``|``.
        text: what it does, for people.
        of: the faults of which a setting says more; empty: all of its family.
    """

    key: str
    form: str
    text: str
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """Faults that are put in place by the same hand, and may stand together in one rule.

    Attributes:
        name: of the family.
        acts: where: "back" or "front" (the domain of that half of a device), "half" (as the word
            ``half`` says), "from" (as ``from`` says, which may be both), "link" (whoever serves the
            interface), "domain", "store", "hypervisor".
        targets: what a rule may be about: "device", "pair", "domain", "store".
        types: types of devices, when it is about some only.
        by: "module:function" that puts it in place in a process; "" when the hypervisor alone does.
        seam: the hypervisor's own seam; "" when it has no part in it.  With both, a process has its
            part in a rule about a device; one about two domains is the hypervisor's alone.
        faults: words of which a rule has one at least.
        needs: keys that each rule must have as well.
        once: it fires once where the rule does not say how often.
        events: whether there are any to choose among, so that `WHEN` has more to say than for how
            long.
        settings: words that say more of them.
    """

    name: str
    acts: str
    targets: tuple[str, ...]
    by: str
    faults: tuple[Word, ...]
    settings: tuple[Word, ...] = ()
    types: tuple[str, ...] = ()
    seam: str = ""
    needs: tuple[str, ...] = ()
    once: bool = False
    events: bool = True


WHEN: Final = (
    Word("after", "count", "lets so many pass first"),
    Word("nth", "count", "fires on that one alone, counted from 1"),
    Word("every", "count", "fires on each n-th"),
    Word("times", "count", "fires so often at most"),
    Word("chance", "chance", "fires on that share of them, as its dice fall"),
    Word("for", "time", "is taken away after that time"),
    Word("seed", "number", "seeds its dice (default: by the lab's seed and these words)"),
)
"""Words of every rule: which of the events that it looks at it fires on."""

MEDIA: Final = Family(
    "media",
    acts="back",
    targets=("device", "domain"),
    types=("vbd",),
    by="hvsim.faults.inject.media:stand",
    faults=(
        Word("media=eio", "", "a request fails with EIO"),
        Word("media=full", "", "a write fails with ENOSPC"),
        Word("media=slow", "", "a request takes longer: by=TIME, or by=TIME..TIME"),
        Word("media=short", "", "a write ends early and fails: its first sectors are written"),
        Word("media=torn", "", "only the first sectors of an acknowledged write are there"),
        Word("media=lost-flush", "", "a flush is acknowledged and not done; a crash loses writes"),
        Word("media=flip", "", "one bit of what is read is another"),
    ),
    settings=(
        Word("op", "read|write|flush|discard", "of these requests only"),
        Word("sector", "range", "of requests that touch these sectors only"),
        Word("by", "times", "how much longer", of=("media=slow",)),
    ),
)

PROCESS: Final = Family(
    "process",
    acts="domain",
    targets=("domain", "store"),
    by="",
    seam="process",
    faults=(
        Word("process=kill", "", "its process is killed, as a crash of its kernel would"),
        Word("process=crash", "", "the domain says that it crashed; not of a process of dom0"),
        Word("process=stall", "", "its process stands still until the rule is taken away"),
        Word("process=restart-loop", "", "each life of it is killed: in=TIME after its birth"),
    ),
    settings=(Word("in", "times", "how long until it happens"),),
)

CPU: Final = Family(
    "cpu",
    acts="domain",
    targets=("domain", "store"),
    by="",
    seam="cpu",
    faults=(Word("cpu", "chance", "it runs that share of each 50 ms"),),
    events=False,
)

CLOCK: Final = Family(
    "clock",
    acts="domain",
    targets=("domain",),
    by="",
    seam="clock",
    faults=(
        Word("clock.jump", "shift", "its time jumps; back: its time of day only"),
        Word("clock.drift", "ppm", "its time goes faster (or slower) than the machine's"),
    ),
    events=False,
)

NETWORK: Final = Family(
    "the network",
    acts="link",
    targets=("device", "domain", "pair"),
    types=("vif",),
    by="hvsim.faults.inject.frames:stand",
    faults=(
        Word("drop", "chance", "that share of the frames is lost"),
        Word("delay", "times", "a frame comes later, with those behind it"),
        Word("duplicate", "chance", "that share comes twice"),
        Word("corrupt", "chance", "a bit of that share is turned over"),
        Word("reorder", "chance", "that share is overtaken by the next"),
        Word("rate", "rate", "no more gets through; what waits too long is lost"),
        Word("link=down", "", "no carrier, no frames"),
        Word("partition=yes", "", "no frame gets from one of two domains to the other"),
    ),
    settings=(Word("direction", "in|out", "what comes to the guest only, or what it sends"),),
)

BELLS: Final = Family(
    "bell",
    acts="from",
    targets=("device", "pair"),
    by="hvsim.faults.inject.bells:stand",
    seam="bell",
    faults=(
        Word("bell.drop", "chance", "that share of the notifies is lost"),
        Word("bell.delay", "times", "a notify comes late, by a minute at most"),
        Word("bell.duplicate", "chance", "that share comes once more, a millisecond later"),
        Word("bell.reorder", "chance", "that share comes after the next one (100 ms at most)"),
        Word("bell.storm", "per-second", "so many come without a cause"),
    ),
    settings=(Word("from", "front|back|both", "what that half of the device sends (both)"),),
)

_WHICH: Final = Word("which", "tx|rx", "of a vif: which of its rings (default: tx)")

RING: Final = Family(
    "ring",
    acts="half",
    targets=("device",),
    by="hvsim.faults.inject.rings:stand",
    faults=(
        Word("ring=warp", "", "a producer index is published that is wrong: by=STEPS (default 1)"),
        Word("ring=corrupt", "", "a slot is published with other bytes than were written into it"),
        Word("ring=flip", "", "a published slot changes to and fro: at=BYTES (default: all of it)"),
        Word("ring=stop", "", "nothing is consumed any more, and doorbells come to nothing"),
        Word(
            "ring=forget",
            "",
            "writes unanswered when the backend dies are called done; of a vbd, with half=front",
        ),
    ),
    settings=(
        Word("half", "back|front", "which half does it (default: back)"),
        Word("by", "steps", "slots too far, or backwards", of=("ring=warp",)),
        Word("at", "range", "bytes of the slot, counted from 0", of=("ring=corrupt", "ring=flip")),
        _WHICH,
    ),
)

ANSWER: Final = Family(
    "answer",
    acts="back",
    targets=("device",),
    by="hvsim.faults.inject.answers:stand",
    faults=(
        Word("answer=never", "", "a request is done and not answered while the rule stands"),
        Word("answer=twice", "", "a request is answered once more"),
        Word("answer=unknown", "", "an answer names an id that nobody has; of a vbd or vif"),
        Word("answer=wrong-op", "", "an answer names another operation; of a vbd"),
    ),
    settings=(_WHICH,),
)

_STORE: Final = "hvsim.faults.inject.store."

HANDSHAKES: Final = Family(
    "handshakes",
    acts="store",
    targets=("store",),
    by=f"{_STORE}handshakes:stand",
    faults=(
        Word(
            "freeze",
            "device@state",
            "a half that leaves the state is told that it did, and nobody sees it",
        ),
    ),
    settings=(Word("half", "front|back", "that half only (default: both)"),),
)

WATCHES: Final = Family(
    "watches",
    acts="store",
    targets=("store",),
    by=f"{_STORE}watches:stand",
    faults=(
        Word("watch=drop", "", "the event of a watch is lost"),
        Word("watch=delay", "", "it comes later, with those behind it: by=TIME, or by=TIME..TIME"),
    ),
    settings=(
        Word("by", "times", "how much later (default 100ms)", of=("watch=delay",)),
        Word("path", "path", "of what changes at or below it only"),
        Word("domain", "domain", "of that domain's watches only; PATH may be relative to its home"),
    ),
)

REQUESTS: Final = Family(
    "requests",
    acts="store",
    targets=("store",),
    by=f"{_STORE}requests:stand",
    faults=(Word("request", "errno", "a request is refused with it"),),
    settings=(
        Word(
            "op",
            "read|write|mkdir|rm|directory|permissions|watch|transaction|commit|domain|control",
            "of these only",
        ),
        Word("path", "path", "of those that name a node at or below it only"),
        Word("domain", "domain", "of that domain's only; PATH may be relative to its home"),
    ),
)

QUOTA: Final = Family(
    "quotas",
    acts="store",
    targets=("store",),
    by=f"{_STORE}quotas:stand",
    faults=(Word("quota=exhaust", "", "a domain gets no more nodes, watches, transactions"),),
    settings=(Word("domain", "domain", "which"),),
    needs=("domain",),
)

THRASH: Final = Family(
    "states",
    acts="store",
    targets=("store",),
    by=f"{_STORE}states:stand",
    faults=(
        Word("thrash", "device", "its state is written over and over, in turn one and another"),
    ),
    settings=(
        Word("half", "front|back", "which half's (default: back)"),
        Word("between", "range", "the two states (default 3..4)"),
        Word("rate", "count", "writes a second (default 10, at most 1000)"),
    ),
)

DELETE: Final = Family(
    "deletions",
    acts="store",
    targets=("store",),
    by=f"{_STORE}deletions:stand",
    faults=(
        Word("delete", "path", "it is taken away with all below it, once (times=N: so often)"),
    ),
    settings=(Word("domain", "domain", "PATH is relative to that domain's home"),),
    once=True,
)

GRANTS: Final = Family(
    "grant",
    acts="back",
    targets=("device", "pair"),
    by="",
    seam="grant",
    faults=(
        Word(
            "grant=fail-map",
            "",
            "a map of a page fails, with status=NAME (a -> b: what a maps of b's)",
        ),
        Word("grant=fail-copy", "", "a copy of a page fails, with status=NAME"),
        Word("grant=hold", "", "an unmap is acknowledged, and the page stays mapped"),
        Word("grant=revoke", "", "a page that was mapped or copied is not granted any more"),
    ),
    settings=(
        Word(
            "status",
            "general_error|bad_domain|bad_gntref|bad_page|permission_denied|no_device_space|no_space",
            "with which GNTST status a map or a copy fails (general_error)",
            of=("grant=fail-map", "grant=fail-copy"),
        ),
    ),
)

OWN: Final = Family(
    "your own",
    acts="domain",
    targets=("domain", "store"),
    by="",
    faults=(
        Word(
            "own",
            "program",
            "is put in place by that function: called with the fault in the process that the rule "
            "is about, it returns what takes it out",
        ),
    ),
)

FAMILIES: Final = (
    BELLS,
    GRANTS,
    PROCESS,
    CPU,
    CLOCK,
    MEDIA,
    NETWORK,
    RING,
    ANSWER,
    HANDSHAKES,
    WATCHES,
    REQUESTS,
    QUOTA,
    THRASH,
    DELETE,
    OWN,
)
