"""A guest that keeps the store busy and counts what it was told: writes, transactions, events.

Directed by the test over its nodes: ``data/go`` = share (let the neighbour read the counter),
= watch (the peer's), = run, = stop, = report (write ``data/report``).  Anything that is not as it
must be ends the domain as crashed, with the reason in its report.
"""

from __future__ import annotations

import json

from hvsim.domain.domain import Domain
from hvsim.xs.client import StoreNotFound, Transaction

WAIT = 60.0


class Mismatch(Exception):
    """The store does not say what it said before."""


def main(dom: Domain) -> None:
    """Args: ``peer``, the domid whose counter is watched; ``watcher``, who watches ours."""
    store = dom.store
    orders: list[str] = []
    events = writes = commits = 0

    def ordered(_path: str) -> None:
        try:
            order = store.read("data/go")
        except StoreNotFound:
            return
        if order not in orders:
            orders.append(order)

    def heard(_path: str) -> None:
        nonlocal events
        events += 1

    def count(tx: Transaction) -> int:
        value = int(tx.read("data/total")) + 1
        tx.write("data/total", str(value))
        return value

    store.write("data/counter", "0")
    store.write("data/total", "0")
    store.watch("data/go", ordered)
    dom.ready()
    dom.wait(lambda: "share" in orders, WAIT, "the order to share")
    # Not before: the right of a domain that does not exist yet would not count.
    store.set_perms("data/counter", [f"n{dom.domid}", f"r{dom.args['watcher']}"])
    store.write("data/shared", "1")
    dom.wait(lambda: "watch" in orders, WAIT, "the order to watch")
    store.watch(f"/local/domain/{dom.args['peer']}/data/counter", heard)
    store.write("data/watching", "1")
    dom.wait(lambda: "run" in orders, WAIT, "the order to run")
    while "stop" not in orders:
        writes += 1
        store.write("data/counter", str(writes))
        commits += 1
        total = store.transaction(count, "counting")
        if total != commits:
            raise Mismatch(f"{commits} commits were acknowledged, the store has {total}")
        value = store.read("data/counter")
        if value != str(writes):
            raise Mismatch(f"{writes} was written last, the store has {value}")
        store.write(f"data/many/n{writes % 40}", "x" * (writes % 50))
        if writes % 5 == 0:
            store.rm("data/many")
        dom.sleep(0.002)
    store.write("data/done", str(writes))
    # All have stopped when the test says so; every event was queued before that order was.
    dom.wait(lambda: "report" in orders, WAIT, "the order to report")
    store.write("data/report", json.dumps({"writes": writes, "commits": commits, "events": events}))
    dom.wait(lambda: dom.shutdown_requested is not None, WAIT, "the end")
