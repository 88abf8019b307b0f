"""What the ledger tells of: limits of the store that bit, and lives that end again and again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.observe.diagnosis.cause import NOTE, STUCK, Cause
from hvsim.observe.diagnosis.logs import log_of

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.host import Host

RECENT: Final = 60.0
"""Seconds for which what has happened is taken for what goes on."""
WAITED: Final = 1.0
"""The same of a limit that lets requests wait and refuses none ("outstanding"): a client that has
its answers by now goes on, one that has not is named by what keeps it."""
LOOP: Final = 3
"""Lives within that time that make a loop."""
_QUOTA: Final = re.compile(r"d(\d+): store (?:quota|limit) '([^']+)'(?: \((\d+)\) reached)?: (.*)")
_KILLED: Final = re.compile(r"d0 (\S+)(?:: kill| killed)")
"""A process of dom0, by a fault of now or by a rule."""


def quotas(host: Host) -> Iterator[Cause]:
    """Limits that bit a domain which is still there, the newest of each."""
    seen = set()
    for record in host.records("store.quota"):
        found = _QUOTA.match(record["text"])
        if found is None or found[1] not in map(str, host.domains):
            continue
        domid, name, value = int(found[1]), found[2], found[3]
        if (domid, name) in seen:
            continue
        seen.add((domid, name))
        what = " ".join(found[4].partition(". Remedy")[0].split())
        limit = f"quota '{name}'" + (f" ({value})" if value else "")
        wide = f"hvsim xenstore control quota set {name} {int(value) * 2 if value else 'N'}"
        ago = host.ago(record)
        yield Cause(
            culprit=host.name(domid),
            what="quota",
            is_so="",
            text="",
            cure=f"{wide}, or let {host.name(domid)} have less of it",
            domid=domid,
            severity=STUCK if ago < (WAITED if name == "outstanding" else RECENT) else NOTE,
            since=ago,
            says=f"{host.full_name(domid)} has hit the store's {limit}: {what}",
            evidence=[f"ledger {record['seq']}: {record['text']}"],
        )


def loops(host: Host) -> Iterator[Cause]:
    """Domains, and daemons of dom0, that are made again and again.  A death by a fault says nothing
    of a program, and is not counted."""
    for row in host.facts.picture["domains"]:
        if row["deaths"] >= LOOP:
            yield _loop(host, str(row["name"]), row["deaths"], row["domid"])
    lives: Counter[str] = Counter()
    for record in host.records("init.restart", "toolstack.restart", "fault", "fault.fired"):
        if host.ago(record) < RECENT:
            killed = _KILLED.fullmatch(record["text"])
            if killed is not None:
                lives[killed[1]] -= 1
            elif record["kind"].endswith(".restart"):
                lives[str(record["text"]).split(" ")[0].rstrip(":")] += 1
    for name, count in lives.items():
        if count >= LOOP:
            yield _loop(host, name, count, None)


def _loop(host: Host, name: str, count: int, domid: int | None) -> Cause:
    return Cause(
        culprit=name,
        what="restart-loop",
        is_so="",
        text="",
        cure=f"{log_of(host, name)} says why it dies",
        domid=domid,
        severity=STUCK,
        says=f"{name} dies again and again: {count} times within a minute",
    )
