"""The store is killed again and again while ten domains use it: nothing acknowledged is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hvsim.xs.reconnect import LastingStore
from tests.support.lab_host import LabHost

DOMAINS = 10
CONFIG = 'name="g{0}"\nprogram="tests.xenstore.death_program:main"\nmemory=4\n'


class Load:
    """Ten guests in a circle: each watches the counter of the one before it."""

    def __init__(self, host: LabHost, store: LastingStore) -> None:
        self.host = host
        self.store = store
        first = host.create('name="scout"\nprogram="domains.guests.idle:main"\nmemory=4\n')
        ids = [first + 1 + index for index in range(DOMAINS)]
        self.domids = [
            host.create(
                CONFIG.format(domid),
                args={"peer": ids[index - 1], "watcher": ids[(index + 1) % DOMAINS]},
            )
            for index, domid in enumerate(ids)
        ]
        assert self.domids == ids
        self.wait_all("data/health", "ok")
        self.order("share")
        self.wait_all("data/shared", "1")
        self.order("watch")
        self.wait_all("data/watching", "1")
        self.order("run")

    def path(self, domid: int, node: str) -> str:
        return f"/local/domain/{domid}/{node}"

    def order(self, word: str) -> None:
        for domid in self.domids:
            self.store.write(self.path(domid, "data/go"), word)

    def values(self, node: str) -> list[str | None]:
        return self.store.read_many([self.path(domid, node) for domid in self.domids])

    def wait_all(self, node: str, value: str) -> None:
        self.host.wait(lambda: set(self.values(node)) == {value}, f"{node} = {value} everywhere")

    def counters(self) -> list[int]:
        return [int(value or 0) for value in self.values("data/counter")]

    def went_on(self, before: list[int]) -> Callable[[], bool]:
        return lambda: all(n > b for n, b in zip(self.counters(), before, strict=True))

    def finish(self) -> list[dict[str, int]]:
        self.order("stop")
        self.host.wait(lambda: None not in self.values("data/done"), "the end of the load")
        self.order("report")
        self.host.wait(lambda: None not in self.values("data/report"), "the reports")
        return [json.loads(text or "") for text in self.values("data/report")]


def kill_store(host: LabHost) -> int:
    """SIGKILL, through the hypervisor; the pid of who is dead then."""
    return host.fault("kill", "xenstored")


def store_pids(host: LabHost) -> list[int]:
    rows: list[dict[str, Any]] = host.request("ps").data["processes"]
    return [row["pid"] for row in rows if row["process"] == "xenstored" and row["alive"]]


def check(load: Load, reports: list[dict[str, int]]) -> None:
    """What every domain was told agrees with what the store says and with its neighbour."""
    assert load.counters() == [report["writes"] for report in reports]
    totals = [int(value or 0) for value in load.values("data/total")]
    assert totals == [report["commits"] for report in reports]
    for index, report in enumerate(reports):
        # One event for the registration; each change made one more, none was missed or repeated.
        assert report["events"] == reports[index - 1]["writes"] + 1
    assert [load.host.xl("domid", f"g{domid}").exit for domid in load.domids] == [0] * DOMAINS
    assert load.store.control("check") == "OK"


def storm(host: LabHost, kills: int, pause: Callable[[float], None]) -> list[int]:
    """Kill the store *kills* times under load; returns the counters at the end."""
    with LastingStore(host.store_path, "TEST", "test") as store:
        load = Load(host, store)
        dead: set[int] = set()
        for _ in range(kills):
            before = load.counters()
            began = time.monotonic()
            dead.add(kill_store(host))
            try:
                host.wait(load.went_on(before), "every domain to go on")
            except AssertionError:
                print(host.xl("dmesg").out)
                raise
            pause(began)
        assert len(dead) == kills
        reports = load.finish()
        check(load, reports)
        (pid,) = store_pids(host)
        assert pid not in dead
        return load.counters()


def test_killed_store_loses_nothing(tmp_path: Path) -> None:
    with LabHost(tmp_path) as host:
        counters = storm(host, 6, lambda began: None)
        assert min(counters) >= 6  # each death was followed by one more write of everybody


@pytest.mark.soak
def test_killed_every_second_for_a_minute(tmp_path: Path) -> None:
    with LabHost(tmp_path) as host:
        storm(host, 60, lambda began: time.sleep(max(0.0, began + 1.0 - time.monotonic())))


def test_without_its_journal_everything_is_lost(tmp_path: Path) -> None:
    """The negative control: it is the journal that the test above tests."""
    with (
        LabHost(tmp_path, journal=False) as host,
        LastingStore(host.store_path, "TEST", "test") as store,
    ):
        store.write("/test", "here")
        dead = kill_store(host)
        host.wait(lambda: bool(set(store_pids(host)) - {dead}), "a new store")
        assert store.read_many(["/test", "/local/domain/0/name"]) == [None, None]
