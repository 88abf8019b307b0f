"""Pages that somebody has mapped who has no use for them any more, so that they are not free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.abi.grant_table import GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE
from hvsim.observe.diagnosis.cause import NOTE, STUCK, Cause, counted
from hvsim.toolstack.host.parts import KERNEL, server_process

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.host import Host
    from hvsim.observe.rows import SeenDomain

_OF_DOM0: Final = {
    GNTTAB_RESERVED_CONSOLE: server_process("console", 0),
    GNTTAB_RESERVED_XENSTORE: "xenstored",
}
"""Whose of dom0's processes a guest's first pages are."""
_OPEN: Final = (2, 3, 4)
"""States of a half that may have pages mapped."""


def causes(host: Host) -> Iterator[Cause]:
    """Who keeps pages of a domain that is dead, or of one all of whose devices there are closed."""
    for row in host.facts.picture["domains"]:
        held: Counter[tuple[int, str]] = Counter()
        for grant in row["holdings"]["grants"] if "holdings" in row else ():
            held[grant["peer"], _holder(host, row["domid"], grant["peer"], grant["ref"])] += 1
        for (peer, who), pages in held.items():
            dead = "d" in row["state"]
            if dead or (peer and _closed(host, row, peer)):
                yield _cause(host, row, (peer, who), pages, dead)


def _holder(host: Host, domid: int, peer: int, ref: int) -> str:
    """Who has a page mapped, as commands take it: a domain, or the process of dom0 whose page it
    is."""
    if peer:
        return host.name(peer)
    qemu = server_process("qdisk", domid)
    there = any(one["name"] == qemu for one in host.facts.picture["processes"])
    return _OF_DOM0.get(ref, qemu if there else KERNEL)


def _closed(host: Host, row: SeenDomain, peer: int) -> bool:
    """Whether nothing is open any more that *peer*, a driver domain, serves to a domain."""
    server = host.domains.get(peer)
    if server is None or server["role"] != "driver" or host.facts.picture["unknown"]:
        return False
    served = [one for one in row["devices"] if one["backend_domid"] == peer]
    return all(one["backend_state"] not in _OPEN for one in served)


def _cause(host: Host, row: SeenDomain, holder: tuple[int, str], pages: int, dead: bool) -> Cause:
    (peer, who), owner = holder, f"domain {row['domid']}"
    if row["name"]:
        owner = host.full_name(row["domid"])
    mine = host.domains.get(peer)
    again = not peer or (mine is not None and mine["restart"] == "always")
    since = None
    for record in host.records("domain.dying"):
        if dead and record["domid"] == row["domid"]:
            since = host.ago(record)
            break
    why = "is dead, and cannot go" if dead else "has no open device there any more"
    some = counted(pages, "page")
    return Cause(
        culprit=who,
        what="grants-held",
        is_so=f"it holds {some} of {owner}",
        text="",
        cure="hvsim down: what dom0's kernel keeps goes with the lab"
        if who == KERNEL
        else f"hvsim fault kill {who} lets go of them"
        + (": it is made again, and goes on with its guests" if again else ""),
        domid=peer,
        severity=STUCK if dead else NOTE,
        since=since,
        says=f"{host.full_name(peer) if peer else who} has {some} of {owner} mapped, which {why}",
    )
