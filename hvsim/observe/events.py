"""The ledger of a running lab: what is kept of it, then what comes, without gap or double.

It is the hypervisor's, and asked for at its door: nobody of dom0 is needed.
"""

import time
from collections.abc import Iterator
from typing import Any

import zmq

from hvsim.lab.door import Door
from hvsim.lab.rundir import RunDir
from hvsim.wire.endpoints import endpoint
from hvsim.wire.packing import unpack

BATCH = 1000
"""Records asked for at once."""


def snapshot(run: RunDir, after: int = 0) -> Iterator[dict[str, Any]]:
    """The records that the hypervisor still has with numbers above `after`, oldest first.

    Raises DoorError when it does not answer."""
    with Door(run.door) as door:
        while records := door.ledger(after, BATCH):
            yield from records
            after = records[-1]["seq"]


def follow(run: RunDir) -> Iterator[dict[str, Any]]:
    """The snapshot, then every further record until the lab ends.

    Subscribes first and asks for the snapshot afterwards, so nothing falls between; should the
    stream skip numbers (a reader that is too slow), the gap is filled from the ledger.
    """
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.subscribe(b"")
    socket.connect(endpoint(f"ipc://{run.events}"))
    last = 0
    settled = False
    try:
        for record in snapshot(run):
            last = record["seq"]
            yield record
        while True:
            if not socket.poll(500):
                if not run.running:
                    return
                if not settled:
                    # The subscription may have become effective after the snapshot was taken.
                    settled = True
                    for record in snapshot(run, last):
                        last = record["seq"]
                        yield record
                continue
            record = unpack(socket.recv_multipart()[-1])
            if record["seq"] <= last:
                continue
            if record["seq"] > last + 1:
                for missed in snapshot(run, last):
                    if missed["seq"] < record["seq"]:
                        yield missed
            last = record["seq"]
            yield record
    finally:
        socket.close()
        context.term()


def line(record: dict[str, Any]) -> str:
    """One record for a reader."""
    moment = time.strftime("%H:%M:%S", time.localtime(record["time"]))
    part = f"{record['time'] % 1:.3f}"[1:]
    domid = record.get("domid", -1)
    who = "host" if domid is None or domid < 0 else f"d{domid}"
    return f"{record['seq']:>6}  {moment}{part}  {who:<5} {record['kind']:<16} {record['text']}"
