"""Every kind of ledger line: what it tells, and what else is in its record.

The reference in docs/ is made of this table, and ``tests/repository/test_ledger_kinds.py`` compares
it with every place that writes to the ledger.  Pure data.
"""

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """One kind.

    Attributes:
        text: what has happened.
        fields: what a record of it has besides those that all have, with the meaning of each.
    """

    text: str
    fields: dict[str, str] = {}  # noqa: RUF012 - of a tuple, never changed


FIELDS: Final = {
    "seq": "number of the record, from 1 without gaps",
    "time": "Unix seconds",
    "mono": "nanoseconds of the monotonic clock, the same in all processes of the machine",
    "domid": "whom it is about; -1: nobody",
    "kind": "one of the kinds below",
    "text": "the record in words",
    "suppressed": "refusals, and firings of rules: lines left out before this one, of too many",
}
"""What every record has."""

KINDS: Final[dict[str, Kind]] = {
    "domain.created": Kind("a domain was made; it has no memory and no process yet"),
    "domain.target": Kind(
        "a domain was given rights over another", {"target": "the domain that it may act upon"}
    ),
    "domain.populated": Kind("a domain has got its memory"),
    "domain.stopping": Kind(
        "a domain has asked to stop, or died; its processes are ended",
        {"code": "SHUTDOWN_* (xen/sched.h): 0 poweroff, 1 reboot, 3 crash, ..."},
    ),
    "domain.shutdown": Kind(
        "a domain has stopped: no process of it is left", {"code": "as in domain.stopping"}
    ),
    "domain.dying": Kind("a domain is destroyed: what it holds is taken back"),
    "domain.zombie": Kind("a domain is dead, and others still map its pages"),
    "domain.destroyed": Kind("nothing of a domain is left"),
    "process.spawned": Kind(
        "a process of a domain runs", {"pid": "its number", "process": "its name in the domain"}
    ),
    "process.failed": Kind("a process of a domain could not be made, and why"),
    "process.gone": Kind(
        "a process of a domain has ended, and its mappings were released",
        {"pid": "its number", "process": "its name in the domain", "status": "how it ended"},
    ),
    "process.exited": Kind(
        "a process that is no domain's has ended", {"pid": "its number", "status": "how it ended"}
    ),
    "event.port": Kind(
        "an event channel port was made, bound or closed",
        {
            "port": "its number",
            "remote": "when it was bound to one: the domain at the other end",
            "remote_port": "when it was bound to one: the port at the other end",
        },
    ),
    "extent.shared": Kind(
        "a peer has got its first descriptor of an extent",
        {"extent": "its number", "peer": "who got it", "ref": "the grant that it mapped"},
    ),
    "grant.refused": Kind(
        "a map, an unmap or a copy of granted pages was refused",
        {"status": "GNTST_* (xen/grant_table.h)"},
    ),
    "hypercall.refused": Kind(
        "a hypercall was refused", {"errno": "of Xen (xen/errno.h), where the call was understood"}
    ),
    "hypercall.malformed": Kind("what a domain sent is no hypercall"),
    "hypercall.starved": Kind("an answer could not be sent for want of descriptors"),
    "console.suppressed": Kind("a domain writes into the hypervisor's console too fast"),
    "fault": Kind("somebody broke something on purpose", {"action": "kill, stall or resume"}),
    "fault.added": Kind("a rule of a fault is in force", {"rule": "its number"}),
    "fault.removed": Kind("a rule of a fault is no more", {"rule": "its number"}),
    "fault.fired": Kind(
        "a rule broke something; what it did",
        {"rule": "its number"},
    ),
    "fault.refused": Kind(
        "a rule could not be put in place where it is to act", {"rule": "its number"}
    ),
    "machine.halt": Kind("the hypervisor ends, and why"),
    "spawner.odd": Kind("the spawner said something that makes no sense"),
    "work.failed": Kind("a fault of ours: a piece of deferred work has failed"),
    "store.quota": Kind("the store refused a domain for a quota, by its name"),
    "store.handshake": Kind("a step of a device's handshake broke a rule"),
    "store.lost": Kind("a real store daemon has ended, and its memory with it"),
    "toolstack.restart": Kind("a device model is started again"),
    "toolstack.given-up": Kind("a driver domain or device model dies too often: it stays dead"),
    "init.restart": Kind("a daemon of dom0 has ended and is started again"),
    "init.given-up": Kind("a daemon of dom0 ends too often: it stays dead"),
}
"""By name; those of the last two groups are noted by services of dom0."""

COUNTED: Final = {
    "grant.map": "pages mapped",
    "grant.unmap": "pages unmapped",
    "grant.copy": "pages copied",
    "hypercall.error": "hypercalls that ended with an errno",
}
"""What is counted, as the kinds are, and never written down: it happens too often."""
