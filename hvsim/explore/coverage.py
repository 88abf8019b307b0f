"""Which orders a run has shown: transitions of what its ledger tells.  Pure.

A *step* is who did what: kind, domain, and the fields that say more of it without numbering it
(the other end of a port, how a process ended).  A *transition* is a step and the one after it, of
the whole host and of each domain by itself.  They are kept as numbers, which are the same in every
process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

FIELDS: Final = ("process", "status", "code", "errno", "rule", "remote", "action", "peer")
"""Those that say more of a step."""


def transitions(ledger: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    """Of the records of a run, in order."""
    found = set()
    last: dict[object, str] = {}
    for record in ledger:
        step = _step(record)
        for whose in ("", record.get("domid", -1)):
            found.add(zlib.crc32(f"{whose}|{last.get(whose, '')}|{step}".encode()))
            last[whose] = step
    return frozenset(found)


def _step(record: Mapping[str, Any]) -> str:
    more = ",".join(f"{key}={record[key]}" for key in FIELDS if key in record)
    return f"{record.get('kind')}/{record.get('domid')}/{more}"
