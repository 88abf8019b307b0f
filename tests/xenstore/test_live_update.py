"""The store's program is replaced under load: no connection is lost, nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.abi.errno import EAGAIN
from hvsim.xs import requests
from hvsim.xs.blocking import connect
from hvsim.xs.client import StoreError
from hvsim.xs.reconnect import LastingStore
from tests.support.lab_host import LabHost
from tests.xenstore.test_death import Load, check, store_pids


def test_sockets_rings_and_watches_go_on(tmp_path: Path) -> None:
    with LabHost(tmp_path) as host, LastingStore(host.store_path, "TEST", "test") as lasting:
        load = Load(host, lasting)
        (pid,) = store_pids(host)
        door = str(Path(host.store_path).with_name(f"d{load.domids[0]}"))
        # Plain connections: they would not survive a death.
        with connect(host.store_path, "OLD", "test") as tools, connect(door) as inside:
            seen: list[str] = []
            tools.watch("/watched", seen.append)
            tx = tools.call(requests.transaction_start())
            tools.write("/in-transaction", "1", tx)
            for life in (2, 3, 4):
                before = load.counters()
                assert tools.control("live-update", "-s", "-F") == "OK"
                # The same connection asks the old program and then the new one.
                while tools.control("live-update") != str(life):
                    pass
                host.wait(load.went_on(before), "every domain to go on")
                inside.write("data/mine", str(life))
                assert store_pids(host) == [pid]
            with pytest.raises(StoreError) as refused:
                tools.call(requests.transaction_end(tx, True))
            assert refused.value.errno == EAGAIN
            lasting.write("/watched", "changed")
            host.wait(lambda: len(seen) > 1 or (tools.poll(0.0) and len(seen) > 1), "the event")
            assert seen == ["/watched", "/watched"]
            assert inside.read("name") == f"g{load.domids[0]}"
        check(load, load.finish())
