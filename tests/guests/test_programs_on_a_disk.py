"""Load and database over the real ring, backend and image; and what they say when it lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.guests.database import Ledger
from domains.guests.device import FrontDevice
from domains.guests.load import Load, Mismatch, Pattern, sector_pattern
from domains.guests.options import option
from domains.guests.verify import verify
from domains.guests.vfs import VolumeVFS
from domains.guests.volume import Volume
from tests.guests.cutdisk import SECTOR, CutDisk
from tests.guests.loopdisk import LoopDisk

SECTORS = 2048


def test_the_load_runs_and_verifies(tmp_path: Path) -> None:
    with LoopDisk(tmp_path / "image", SECTORS) as disk:
        load = Load(disk, 512, seed=7, depth=8, reads=60, flush=5)
        load.fill()
        for _ in range(300):
            load.step()
        load.drain()
    counters = load.counters
    assert counters.reads > 100
    assert counters.writes > 50
    assert counters.flushes > 5
    assert counters.reads + counters.writes == 300 + 512 // 64
    assert f"{counters.reads} reads ({counters.sectors_read} sectors verified)" in str(counters)


def test_the_load_makes_the_same_choices_from_the_same_seed(tmp_path: Path) -> None:
    images = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        with LoopDisk(tmp_path / name, SECTORS) as disk:
            load = Load(disk, 256, seed, depth=4, reads=50, flush=0)
            load.fill()
            for _ in range(60):
                load.step()
            load.drain()
        images.append((tmp_path / name).read_bytes())
    assert images[0] == images[1] != images[2]


def spoil(image: Path, content: bytes) -> None:
    with image.open("r+b") as file:
        for sector in range(64):
            file.seek(sector * SECTOR)
            file.write(content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (bytes(SECTOR), r"sector \d+: zeros"),
        (b"\xab" * SECTOR, r"sector \d+: unknown bytes abab"),
        (sector_pattern(7, 63, 1), r"sector \d+: unknown bytes"),
    ],
)
def test_the_load_says_which_sector_is_wrong(tmp_path: Path, content: bytes, text: str) -> None:
    image = tmp_path / "image"
    with LoopDisk(image, SECTORS) as disk:
        load = Load(disk, 64, seed=7, depth=1, reads=100, flush=0)
        load.fill()
        spoil(image, content)
        load.step()
        with pytest.raises(Mismatch, match=text):
            load.drain()


def test_a_lost_write_is_told_from_garbage() -> None:
    pattern = Pattern(5, 8)
    old = pattern.next_write(2, 1)
    new = pattern.next_write(2, 1)
    with pytest.raises(Mismatch, match="sector 2: generation 1 where the last written is 2"):
        pattern.check(2, new, old)
    with pytest.raises(Mismatch, match="512 bytes instead of 1024"):
        pattern.check(2, new + new, new)
    pattern.check(2, new, new)


def test_the_database_commits_over_the_ring(tmp_path: Path) -> None:
    image = tmp_path / "image"
    for first in (1, 6):
        with LoopDisk(image, SECTORS) as disk:
            vfs = VolumeVFS("over-the-ring", Volume(FrontDevice(disk)))
            ledger = Ledger(vfs.name)
            assert [ledger.commit(4, 200) for _ in range(5)] == list(range(first, first + 5))
            ledger.close()
            vfs.unregister()
    verdict = verify(image)
    assert verdict.sound
    assert (verdict.batches, verdict.rows) == (10, 40)


@given(st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=1500)), max_size=8))
def test_bytes_at_any_offset_reach_whole_sectors(writes: list[tuple[int, bytes]]) -> None:
    device, model = FrontDevice(SectorsOnly(16)), bytearray(16 * SECTOR)
    for offset, data in writes:
        device.write(offset, data)
        model[offset : offset + len(data)] = data
        assert device.read(offset, len(data)) == data
    assert device.read(0, device.size) == bytes(model)
    assert device.read(5, 0) == b""


class SectorsOnly:
    """A disk that takes nothing but whole sectors."""

    sector_size = SECTOR

    def __init__(self, sectors: int) -> None:
        self.sectors = sectors
        self._disk = CutDisk(sectors * SECTOR)

    def read(self, sector: int, nr_sectors: int) -> bytes:
        return self._disk.read(sector * SECTOR, nr_sectors * SECTOR)

    def write(self, sector: int, data: bytes) -> None:
        assert len(data) % SECTOR == 0
        self._disk.write(sector * SECTOR, data)

    def flush(self) -> None:
        self._disk.flush()


def test_options_have_types_and_say_what_is_wrong() -> None:
    found = {"rate": "2.5", "rows": "x"}
    assert option(found, "rate", 0.0) == 2.5
    assert option(found, "pause", 1.5) == 1.5
    with pytest.raises(ValueError, match="option rows='x' is not int"):
        option(found, "rows", 4)
