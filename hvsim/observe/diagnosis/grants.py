"""Pages that somebody has mapped who has no use for them any more, so that they are not free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.observe.diagnosis.cause import NOTE, STUCK, Cause, counted

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.host import Host
    from hvsim.observe.rows import SeenDomain

_OPEN: Final = (2, 3, 4)
"""States of a half that may have pages mapped."""


def causes(host: Host) -> Iterator[Cause]:
    """Who keeps pages of a domain that is dead, or of one all of whose devices there are closed."""
    for row in host.facts.picture["domains"]:
        held: Counter[int] = Counter()
        for grant in row["holdings"]["grants"] if "holdings" in row else ():
            held[grant["peer"]] += 1
        for peer, pages in held.items():
            dead = "d" in row["state"]
            if dead or (peer and _closed(host, row, peer)):
                yield _cause(host, row, peer, pages, dead)


def _closed(host: Host, row: SeenDomain, peer: int) -> bool:
    """Whether nothing is open any more that *peer*, a driver domain, serves to a domain."""
    server = host.domains.get(peer)
    if server is None or server["role"] != "driver" or host.facts.picture["unknown"]:
        return False
    served = [one for one in row["devices"] if one["backend_domid"] == peer]
    return all(one["backend_state"] not in _OPEN for one in served)


def _cause(host: Host, row: SeenDomain, peer: int, pages: int, dead: bool) -> Cause:
    who, owner = host.name(peer), f"domain {row['domid']}"
    if row["name"]:
        owner = host.full_name(row["domid"])
    mine = host.domains.get(peer)
    again = mine is not None and mine["restart"] == "always"
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
        cure=f"hvsim fault kill {who} lets go of them"
        + (": it is made again, and goes on with its guests" if again else ""),
        domid=peer,
        severity=STUCK if dead else NOTE,
        since=since,
        says=f"{host.full_name(peer)} has {some} of {owner} mapped, which {why}",
    )
