"""The ledger of a running lab: what is kept of it, then what comes, without gap or double.

It is the hypervisor's, and asked for at its door: nobody of dom0 is needed.
"""

import time
from collections.abc import Iterator
from typing import Any

from hvsim.lab.door import Door
from hvsim.lab.rundir import RunDir

BATCH = 1000
"""Records asked for at once."""
PATIENCE = 2.0
"""Seconds that a hypervisor has to answer one who follows it."""


def snapshot(run: RunDir, after: int = 0) -> Iterator[dict[str, Any]]:
    """The records that the hypervisor still has with numbers above `after`, oldest first.

    Raises DoorError when it does not answer."""
    with Door(run.door) as door:
        while records := door.ledger(after, BATCH):
            yield from records
            after = records[-1]["seq"]


def follow(run: RunDir) -> Iterator[dict[str, Any]]:
    """The snapshot, then every further record until the lab ends.

    The hypervisor says when there is news, and the news is asked for: who reads slowly keeps nobody
    waiting, and has what the hypervisor still has.  Raises DoorError when it does not answer.
    """
    after = 0
    with Door(run.door, PATIENCE) as door:
        while True:
            while records := door.ledger(after, BATCH):
                yield from records
                after = records[-1]["seq"]
            if not door.news(after):
                return


def line(record: dict[str, Any]) -> str:
    """One record for a reader."""
    moment = time.strftime("%H:%M:%S", time.localtime(record["time"]))
    part = f"{record['time'] % 1:.3f}"[1:]
    domid = record.get("domid", -1)
    who = "host" if domid is None or domid < 0 else f"d{domid}"
    return f"{record['seq']:>6}  {moment}{part}  {who:<5} {record['kind']:<16} {record['text']}"
