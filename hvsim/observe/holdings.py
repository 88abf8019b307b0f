"""What each domain of a picture holds in the hypervisor, and what it did last: ``ps --full``."""

import contextlib
from collections.abc import Sequence
from typing import Final

from hvsim.lab.door import Door, DoorError
from hvsim.lab.rundir import RunDir
from hvsim.observe.rows import LastAct, SeenDomain

LAST_ACTS: Final = 3
"""Records of the ledger for each domain."""
RECORDS: Final = 1000
"""Records, the newest, in which they are looked for."""


def enter(run: RunDir, domains: Sequence[SeenDomain]) -> None:
    """Enter it.  Raises: DoorError when the hypervisor does not answer."""
    acts: dict[int, list[LastAct]] = {}
    with Door(run.door) as door:
        for row in domains:
            with contextlib.suppress(DoorError):  # it has gone meanwhile
                row["holdings"] = door.holdings(row["domid"])
        last = int(door.machine()["ledger_seq"])
        for record in door.ledger(max(0, last - RECORDS), RECORDS):
            acts.setdefault(record["domid"], []).append(
                LastAct(
                    seq=record["seq"],
                    time=record["time"],
                    kind=record["kind"],
                    text=record["text"],
                )
            )
    for row in domains:
        row["last_acts"] = acts.get(row["domid"], [])[-LAST_ACTS:]
