"""blkfront's queue against blkback's engine, in one process: what the ABI promises."""

from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hvsim import native
from hvsim.domain.ring import PyBackRing, PyFrontRing
from hvsim.drivers.block.image import Image
from hvsim.drivers.block.protocol import BlockClosed, BlockError
from hvsim.drivers.block.request import BARRIER, DISCARD, FLUSH, READ, WRITE, Request
from tests.drivers.loopback import Loopback

MakeLoopback = Callable[..., Loopback]
_native = native.load()
TWINS: list[Any] = [pytest.param((PyFrontRing, PyBackRing), id="python")]
if _native is not None:
    TWINS.append(pytest.param((_native.FrontRing, _native.BackRing), id="native"))


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[MakeLoopback]:
    made: list[Loopback] = []

    def make(**options: Any) -> Loopback:
        link = Loopback(tmp_path / "disk.img", **options)
        made.append(link)
        return link

    yield make
    for link in made:
        link.close()


def _do(link: Loopback, op: int, sector: int = 0, nr_sectors: int = 0, **more: Any) -> Request:
    if "data" in more:
        nr_sectors = len(more["data"]) // 512
    request = Request(op, sector, nr_sectors, **more)
    link.queue.submit(request)
    link.pump()
    return request


@pytest.mark.parametrize("rings", TWINS)
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("max_segments", [11, 32])
def test_random_reads_and_writes_against_a_plain_file(
    loopback: MakeLoopback,
    tmp_path: Path,
    rings: tuple[Any, Any],
    persistent: bool,
    order: int,
    max_segments: int,
) -> None:
    dice = random.Random(7)
    link = loopback(rings=rings, persistent=persistent, order=order, max_segments=max_segments)
    model = bytearray(2048 * 512)
    for _ in range(150):
        count = dice.choice([1, 3, 8, 16, 88, 89, 256, 300])
        sector = dice.randrange(2048 - count + 1)
        if dice.random() < 0.5:
            data = dice.randbytes(count * 512)
            assert _do(link, WRITE, sector, data=data).result() == b""
            model[sector * 512 : sector * 512 + len(data)] = data
        else:
            wanted = model[sector * 512 : (sector + count) * 512]
            assert _do(link, READ, sector, count).result() == wanted
            target = bytearray(count * 512)
            _do(link, READ, sector, count, target=memoryview(target))
            assert target == wanted
    assert (tmp_path / "disk.img").read_bytes() == model
    assert link.queue.unanswered == 0
    pinned = sum(link.table.pins.values())
    assert pinned == (len(link.pages) if persistent else 0)


@pytest.mark.parametrize("rings", TWINS)
def test_many_at_once_keep_the_order_of_one_sector(
    loopback: MakeLoopback, rings: tuple[Any, Any]
) -> None:
    link = loopback(rings=rings)
    requests = []
    for number in range(200):
        request = Request(WRITE, number % 3, 1, data=bytes([number]) * 512)
        link.queue.submit(request)
        requests.append(request)
    link.pump()
    assert all(r.status == 0 for r in requests)
    assert _do(link, READ, 0, 3).result() == b"".join(bytes([n]) * 512 for n in (198, 199, 197))


def test_a_flush_waits_for_the_writes_before_it(loopback: MakeLoopback) -> None:
    link = loopback()
    link.queue.submit(Request(WRITE, 0, 1, data=bytes(512)))
    link.queue.submit(Request(FLUSH))
    link.queue.submit(Request(WRITE, 1, 1, data=bytes(512)))
    assert link.queue.in_flight == 1, "the flush, and what follows it, is not on the ring yet"
    link.pump()
    assert link.service.statistics().flushes == 1


def test_a_write_waits_for_an_unanswered_write_of_its_sector(loopback: MakeLoopback) -> None:
    """Else a write issued again after a recovery could undo a later, acknowledged one."""
    link = loopback()
    link.queue.submit(Request(WRITE, 4, 4, data=bytes(2048)))
    link.queue.submit(Request(WRITE, 8, 1, data=bytes(512)))
    assert link.queue.in_flight == 2, "they touch different sectors"
    link.queue.submit(Request(WRITE, 7, 1, data=bytes(512)))
    assert link.queue.in_flight == 2
    link.pump()


@pytest.mark.parametrize("persistent", [True, False])
def test_barrier_and_flush(
    loopback: MakeLoopback, monkeypatch: pytest.MonkeyPatch, persistent: bool
) -> None:
    link = loopback(persistent=persistent)
    calls: list[str] = []
    write, flush = link.image.write, link.image.flush

    def spy_write(views: Any, offset: int) -> None:
        calls.append("write")
        write(views, offset)

    def spy_flush() -> None:
        calls.append("flush")
        flush()

    monkeypatch.setattr(link.image, "write", spy_write)
    monkeypatch.setattr(link.image, "flush", spy_flush)
    assert _do(link, BARRIER, 0, data=b"b" * 512).status == 0
    assert calls == ["flush", "write", "flush"]
    calls.clear()
    assert _do(link, FLUSH).status == 0
    assert calls == ["flush"]


@pytest.mark.parametrize("persistent", [True, False])
def test_what_is_discarded_reads_as_zeros(loopback: MakeLoopback, persistent: bool) -> None:
    link = loopback(persistent=persistent)
    assert _do(link, BARRIER, 0, data=b"b" * 512).status == 0
    if not link.image.discard_granularity:
        pytest.skip("this file system cannot punch holes")
    assert _do(link, DISCARD, 0, 8).status == 0
    assert _do(link, READ, 0, 8).result() == bytes(4096)


@pytest.mark.parametrize("rings", TWINS)
def test_a_read_only_disk_refuses_changes(
    loopback: MakeLoopback, tmp_path: Path, rings: tuple[Any, Any]
) -> None:
    link = loopback(readonly=True, rings=rings)
    for op in (WRITE, BARRIER):
        request = _do(link, op, 0, data=b"x" * 512)
        with pytest.raises(BlockError) as refused:
            request.result()
        assert (refused.value.status, refused.value.sector) == (-1, 0)
    assert _do(link, DISCARD, 0, 8).status == -2
    assert _do(link, FLUSH).status == 0
    assert _do(link, READ, 0, 8).result() == bytes(4096)
    assert (tmp_path / "disk.img").read_bytes() == bytes(2048 * 512)


@pytest.mark.parametrize("rings", TWINS)
def test_an_image_that_shrank_is_an_error_not_old_data(
    loopback: MakeLoopback, tmp_path: Path, rings: tuple[Any, Any]
) -> None:
    link = loopback(rings=rings)
    _do(link, WRITE, 2040, data=b"x" * 4096)
    os.truncate(tmp_path / "disk.img", 1024 * 512)
    assert _do(link, READ, 1020, 8).status == -1
    assert _do(link, READ, 2040, 8).status == -1


def test_bounded_work_per_turn(loopback: MakeLoopback) -> None:
    link = loopback(order=4)
    for number in range(400):
        link.queue.submit(Request(READ, number, 1))
    out = link.queue.in_flight
    assert link.back(64), "there is more to do"
    assert 64 <= link.service.statistics().requests < 64 + 16 < out
    link.pump()


# -- recovery ---------------------------------------------------------------------------------


def _reconnect(loopback: MakeLoopback, link: Loopback, **options: Any) -> Loopback:
    link.queue.detach()
    return loopback(queue=link.queue, **options)


@pytest.mark.parametrize("done", [0, 1, 5, 16])
@pytest.mark.parametrize("answered", [True, False])
def test_a_new_backend_gets_every_unanswered_request_in_order(
    loopback: MakeLoopback, done: int, answered: bool
) -> None:
    """The old backend did some of them; whether their answers were seen is chance."""
    link = loopback(rings=(PyFrontRing, PyBackRing), order=2)
    log: list[tuple[int, bytes]] = []
    requests = [Request(WRITE, n % 40, 1, data=bytes([n]) * 512) for n in range(60)]
    for request in requests:
        link.queue.submit(request)
    link.back(done)
    if answered:
        link.queue.complete()
    acknowledged = sum(r.done for r in requests)
    link = _reconnect(loopback, link, order=0)
    write = link.image.write

    def spy(views: Any, offset: int) -> None:
        log.append((offset // 512, bytes(views[0][:1])))
        write(views, offset)

    link.image.direct = False
    link.image.write = spy  # type: ignore[method-assign]
    link.service.serve_natively = None
    link.pump()
    assert all(r.status == 0 for r in requests)
    order = [(n % 40, bytes([n])) for n in range(60)]
    assert log == order[acknowledged:], "none lost, none twice, none out of order"


def test_a_flush_in_flight_is_reissued_behind_its_writes(loopback: MakeLoopback) -> None:
    link = loopback()
    first = Request(WRITE, 0, 8, data=b"1" * 4096)
    flush = Request(FLUSH)
    link.queue.submit(first)
    link.queue.submit(flush)
    link = _reconnect(loopback, link)
    link.queue.start()
    assert link.queue.in_flight == 1
    link.pump()
    assert first.status == flush.status == 0
    assert link.service.statistics().flushes == 1


@pytest.mark.parametrize("sectors", [256, 257, 300, 700])
def test_a_new_backend_may_take_less_at_once(
    loopback: MakeLoopback, tmp_path: Path, sectors: int
) -> None:
    """Pieces of a request are cut again, each with its own part of the data.

    Seen red with the offset of the piece, its sector or its length left out of ``Part.cut``.
    """
    link = loopback(max_segments=32)
    data = random.Random(1).randbytes(sectors * 512)
    write = Request(WRITE, 10, sectors, data=data)
    read, readinto = Request(READ, 10, sectors), bytearray(sectors * 512)
    link.queue.submit(write)
    link = _reconnect(loopback, link, max_segments=11)
    pieces = [256] * (sectors // 256) + [sectors % 256]
    assert link.queue.unanswered == sum(-(-piece // (11 * 8)) for piece in pieces)
    link.pump()
    assert write.status == 0
    disk = (tmp_path / "disk.img").read_bytes()
    assert disk == bytes(10 * 512) + data + bytes(len(disk) - (10 + sectors) * 512)
    link = _reconnect(loopback, link, max_segments=32)
    target = Request(READ, 10, sectors, target=memoryview(readinto))
    link.queue.submit(read)
    link.queue.submit(target)
    link = _reconnect(loopback, link, persistent=False, max_segments=11)
    link.pump()
    assert read.result() == data
    assert target.status == 0
    assert readinto == data


def test_requests_of_a_closed_device_fail_by_name(loopback: MakeLoopback) -> None:
    link = loopback()
    on_ring, waiting = Request(READ, 3, 8), Request(FLUSH)
    link.queue.submit(Request(WRITE, 0, 1, data=bytes(512)))
    link.queue.submit(on_ring)
    link.queue.submit(waiting)
    link.queue.fail_all(BlockClosed, "the device was removed")
    with pytest.raises(BlockClosed, match="READ of sector 3: the device was removed"):
        on_ring.result()
    with pytest.raises(BlockClosed):
        waiting.result()
    assert link.queue.unanswered == 0


# -- shortages --------------------------------------------------------------------------------


class FullImage(Image):
    """On a disk that takes no more."""

    direct = False

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Raises OSError."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named(loopback: MakeLoopback) -> None:
    """The guest gets an error, the log the disk and how much of it is free.  Red with the error's
    own text ("No space left on device")."""
    link = loopback(image=FullImage)
    assert _do(link, WRITE, 0, data=b"x" * 512).status == -1
    assert re.fullmatch(
        r"WRITE at 0: no space left on /\S* \([\d.]+ MiB are free\); free some", link.log[0]
    ), link.log
