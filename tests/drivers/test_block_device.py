"""blkfront and blkback on the real hypervisor: real grants, real event channels, real images.

The store is the small one of tests/support, and both domains run in this process, turn by turn:
so every interleaving is the test's own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.hotplug import script
from hvsim.drivers.block.protocol import BlockBroken, BlockClosed, BlockError
from hvsim.drivers.block.request import FLUSH, READ, WRITE
from hvsim.errors import TimedOut
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains

__all__ = ["a_disk_and_its_domains"]


def test_who_waits_for_a_disk_is_told_where_it_stands(rig: Rig) -> None:
    where = f"vbd {VDEV} to connect: no such device in the store"
    with pytest.raises(TimedOut, match=where):
        BlockFront.open(rig.guest, VDEV, timeout=0.01)
    disk = rig.start(rig.domain())
    assert BlockFront.open(rig.guest, VDEV) is disk


def test_the_handshake_is_that_of_linux(rig: Rig) -> None:
    back = rig.domain()
    disk = rig.start(back)
    assert (disk.sectors, disk.sector_size, disk.readonly) == (2048, 512, False)
    assert rig.state(rig.front_path) == rig.state(rig.back_path(back)) == "4"
    front = [
        line.split(" ", 2)[2].removeprefix(f"device/vbd/{VDEV}/")
        for line in rig.store.trace
        if line.startswith(f"d{rig.guest.domid} WRITE device")
    ]
    assert [line.split()[0] for line in front] == [
        "ring-ref",
        "event-channel",
        "protocol",
        "feature-persistent",
        "state",
        "state",
    ]
    assert [line for line in front if line.startswith("state")] == ["state 3", "state 4"]
    written = [
        line.split(" ")[2].rsplit("/", 1)[1]
        for line in rig.store.trace
        if line.startswith(f"d{back.domid} WRITE backend")
    ]
    assert written[:4] == [
        "feature-max-indirect-segments",
        "multi-queue-max-queues",
        "max-ring-page-order",
        "state",
    ]
    assert [key for key in written if key not in ("state",)][-5:] == [
        "feature-persistent",
        "sectors",
        "info",
        "sector-size",
        "physical-sector-size",
    ]


@pytest.mark.parametrize("options", [{}, {"ring_page_order": 2}, {"persistent": False}])
def test_data_goes_through(rig: Rig, options: dict[str, object]) -> None:
    rig.guest.args["vbd"] = options
    rig.start(rig.domain())
    data = os.urandom(300 * 512)
    assert rig.do(WRITE, 16, data=data).status == 0
    assert rig.do(FLUSH).status == 0
    assert rig.do(READ, 16, 300).result() == data
    assert rig.image.read_bytes()[16 * 512 : 316 * 512] == data
    requests = [rig.disk.submit(READ, 8 * n, 8) for n in range(100)]
    rig.run(lambda: all(r.done for r in requests), "a hundred reads")
    whole = rig.image.read_bytes()
    for n, request in enumerate(requests):
        assert request.result() == whole[n * 4096 : (n + 1) * 4096]
    assert rig.disk.statistics()["unanswered"] == 0


def test_a_read_only_disk(rig: Rig) -> None:
    disk = rig.start(rig.domain(), mode="r")
    assert disk.readonly
    with pytest.raises(BlockError, match="read-only"):
        disk.submit(WRITE, 0, data=bytes(512))
    assert rig.do(READ, 0, 8).result() == bytes(4096)


def test_detach_closes_both_halves(rig: Rig) -> None:
    back = rig.domain()
    disk = rig.start(back)
    rig.write(f"{rig.back_path(back)}/online", "0")
    rig.write(f"{rig.back_path(back)}/state", "5")
    rig.run(lambda: rig.state(rig.back_path(back)) == "6", "detached")
    assert rig.state(rig.front_path) == "6"
    with pytest.raises(BlockClosed):
        disk.read(0, 8)
    assert back.mapper.live_pages == 0
    rig.run(lambda: disk.statistics()["leftover_pages"] == 0, "the guest has its frames back")


def test_another_toolstack_has_the_time_to_see_init_wait(rig: Rig) -> None:
    """Red without LINGER: libxl says "unable to add device with path" of a disk that is Connected
    before it has looked."""
    back = rig.domain()
    BlockBack.register(back, script(back))
    rig.attach(back, toolstack="xl")
    rig.disks = BlockFront.register(rig.guest)
    rig.run(lambda: rig.state(rig.front_path) == "3", "the guest has published its ring")
    seen = back.vcpu.now()
    rig.run(lambda: rig.disk.connected, "connected")
    assert back.vcpu.now() - seen > 0.5


@pytest.mark.parametrize("kills", [1, 3])
def test_a_new_backend_gets_what_the_dead_one_left(rig: Rig, kills: int) -> None:
    back = rig.domain()
    disk = rig.start(back)
    for _ in range(kills):
        rig.do(WRITE, 0, data=b"a" * 4096)
        rig.live.remove(back)  # it hangs, then dies
        pending = [disk.submit(WRITE, 8 * n, data=bytes([n]) * 4096) for n in range(40)]
        flush = disk.submit(FLUSH)
        rig.live.append(back)
        rig.kill(back)
        back = rig.domain()
        BlockBack.register(back, script(back))
        rig.attach(back)
        rig.run(lambda flush=flush: flush.done, "recovered")  # type: ignore[misc]
        assert [r.status for r in pending] == [0] * 40
        whole = rig.image.read_bytes()
        assert all(whole[n * 4096] == n for n in range(40))
    assert disk.statistics()["connections"] == kills + 1
    assert disk.statistics()["reissued"] >= 32 * kills
    rig.run(lambda: disk.statistics()["leftover_pages"] == 0, "old frames are freed")


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        ({"ring-ref": "99999"}, ["3 mapping in shared page 99999 from domain {guest}",
                                "2 mapping ring-ref port {port}"]),
        ({"event-channel": "999"}, ["22 mapping ring-ref port 999"]),
        ({"event-channel": "-1"}, ["22 reading {front}/event-channel"]),
        ({"ring-ref": "x"}, ["22 reading {front}/ring-ref"]),
        ({"protocol": "sparc-abi"}, ["38 unknown fe protocol sparc-abi"]),
        ({"ring-page-order": "5"}, ["22 requested ring page order 5 exceed max:4"]),
        ({"multi-queue-num-queues": "9"},
         ["38 guest requested 9 queues, exceeding the maximum of 1."]),
    ],
)  # fmt: skip
def test_what_a_frontend_may_not_publish(rig: Rig, keys: dict[str, str], texts: list[str]) -> None:
    """Recording 77: the error texts, and that nobody else is hurt."""
    back = rig.domain()
    BlockBack.register(back, script(back))
    rig.attach(back)
    rig.run(lambda: rig.state(rig.back_path(back)) == "2", "InitWait")
    extent = rig.guest.memory.allocate(1)
    port = rig.guest.events.alloc_unbound(back.domid)
    good = {
        "ring-ref": str(rig.guest.grants.grant(back.domid, extent.gfn(0))),
        "event-channel": str(port),
    }
    for key, value in {**good, **keys, "state": "3"}.items():
        rig.write(f"{rig.front_path}/{key}", value)
    rig.run(lambda: rig.state(rig.back_path(back)) == "5", "refused")
    named = {"guest": rig.guest.domid, "port": port, "front": rig.front_path}
    wanted = [text.format(**named) for text in texts]
    errors = [line.split(" ", 3)[3] for line in rig.store.trace if " WRITE error/" in line]
    assert errors == wanted
    assert back.mapper.live_pages == 0


def test_index_warp_costs_only_its_own_device(rig: Rig) -> None:
    back = rig.domain()
    disk = rig.start(back)
    connection = disk.connection
    assert connection is not None
    connection.page[0:4] = (1000).to_bytes(4, "little")
    rig.guest.events.notify(connection.port)
    rig.run(lambda: rig.state(rig.front_path) == "6", "closed")
    assert any("bogus ring requests" in line for line in rig.store.trace)
    assert back.mapper.live_pages == 0
    rig.run(lambda: back.vcpu.block(0) or True, "the backend's domain lives")


def test_a_backend_that_lies_is_not_talked_to_again(rig: Rig) -> None:
    back = rig.domain()
    disk = rig.start(back)
    connection = disk.connection
    assert connection is not None
    rig.live.remove(back)
    request = disk.submit(READ, 0, 8)
    connection.page[8:12] = (500).to_bytes(4, "little")
    rig.guest.vcpu.set_pending(connection.port)
    rig.run(lambda: request.done, "failed")
    with pytest.raises(BlockBroken, match="out of range"):
        request.result()
    with pytest.raises(BlockBroken):
        disk.submit(READ, 0, 8)
    rig.live.append(back)
    rig.run(lambda: rig.state(rig.front_path) == "6", "closed in order")


def test_a_frontend_that_toggles_its_state(rig: Rig) -> None:
    """Attack family (f), XSA-350: connect and vanish, over and over; nothing piles up.

    Red when `BlockBack.removed` does not give its attachment up.
    """
    back = rig.domain()
    before = back.events.ports()
    rig.start(back)
    for number in range(30):
        rig.write(f"{rig.front_path}/state", str(number % 9))
        rig.store.settle()
        if back.vcpu.block(0):
            back.vcpu.dispatch()
    rig.remove(rig.front_path)
    rig.run(lambda: not back.backends.devices, "the device is gone")
    assert back.mapper.live_pages == 0
    assert back.events.ports() == before


def test_a_frontend_that_rings_without_work_is_held_back(rig: Rig) -> None:
    """Attack family (e), XSA-332: after a while its bell is masked, later heard again; its reads
    still work.  Red without the limit SPURIOUS_ALLOWED.
    """
    back = rig.domain()
    disk = rig.start(back)
    connection = disk.connection
    assert connection is not None
    driver = back.backends.drivers[f"backend/vbd/{rig.guest.domid}/{VDEV}"]
    assert isinstance(driver, BlockBack)
    for _ in range(200):
        rig.guest.events.notify(connection.port)
        if back.vcpu.block(0):
            back.vcpu.dispatch()
    assert driver.held_back >= 1
    assert rig.do(READ, 0, 8).result() == bytes(4096)


def test_a_new_backend_reaches_nothing_that_was_the_dead_ones(rig: Rig) -> None:
    """Attack family (i): the references and the port of a connection belong to one domid for life.

    Red when the hypervisor neither compares the domid of an entry nor keeps an extent to one peer
    (either alone is enough).
    """
    back = rig.domain()
    disk = rig.start(back)
    connection = disk.connection
    assert connection is not None
    rig.do(READ, 0, 8)
    port = connection.port
    taken = sorted(rig.guest.grants.taken)
    assert set(connection.ring_refs) < set(taken)
    rig.kill(back)
    new = rig.domain()
    for ref in taken:
        with pytest.raises(GrantError):
            new.mapper.map(rig.guest.domid, ref)
    with pytest.raises(HypercallError):
        new.events.bind_interdomain(rig.guest.domid, port)
    assert new.mapper.live_pages == 0


def test_a_missing_image_is_a_hotplug_error(rig: Rig, tmp_path: Path) -> None:
    back = rig.domain()
    BlockBack.register(back, script(back))
    rig.attach(back, params=str(tmp_path / "nothing.img"))
    path = rig.back_path(back)
    rig.run(lambda: rig.store.get(f"{path}/hotplug-status") == "error", "hotplug failed")
    assert "does not exist" in (rig.store.get(f"{path}/hotplug-error") or "")
    assert rig.state(path) == str(int(XenbusState.InitWait))
