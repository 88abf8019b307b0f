"""The database on its volume, cut off at every write and flush, judged from outside."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from domains.guests import verify
from domains.guests.database import Ledger
from domains.guests.device import Device
from domains.guests.ledger import DATABASE, acknowledged, row
from domains.guests.vfs import VolumeVFS
from domains.guests.volume import BLOCK, Volume
from tests.guests.cutdisk import CutDisk, FileDisk

SIZE = 64 * BLOCK
ROWS, PAYLOAD = 3, 900
_names = itertools.count()


def commit_batches(device: Device, batches: int) -> list[int]:
    """Run the database until ``batches`` are there or the power fails; those acknowledged."""
    done: list[int] = []
    vfs: VolumeVFS | None = None
    ledger: Ledger | None = None
    try:
        vfs = VolumeVFS(f"test-{next(_names)}", Volume(device))
        ledger = Ledger(vfs.name)
        while ledger.batch < batches:
            done.append(ledger.commit(ROWS, PAYLOAD))
    except (OSError, apsw.Error):
        pass  # the power; what SQLite says of it does not matter to the outside
    finally:
        if ledger is not None:
            with suppress(apsw.Error):
                ledger.close()
        if vfs is not None:
            vfs.unregister()
    return done


def judge(folder: Path, content: bytes) -> verify.Verdict:
    image = folder / "image"
    image.write_bytes(content)
    return verify.verify(image)


def cuts(batches: int, *, lies: bool = False, first: int = 0) -> Iterator[tuple[int, CutDisk]]:
    """A disk for every operation that a run of that many batches makes."""
    whole = CutDisk(SIZE, lies=lies)
    assert commit_batches(whole, batches) == list(range(1, batches + 1))
    for cut_at in range(first, whole.operations):
        yield cut_at, CutDisk(SIZE, cut_at=cut_at, lies=lies)


def test_every_acknowledged_batch_survives_a_cut_at_every_operation(tmp_path: Path) -> None:
    dice = random.Random(20)
    for cut_at, disk in cuts(3):
        done = commit_batches(disk, 3)
        for attempt in range(3):
            verdict = judge(tmp_path, disk.after_cut(dice))
            where = f"cut before operation {cut_at}, attempt {attempt}: {verdict}"
            if not done and verdict.integrity != "ok":
                # Before the first commit there may be no volume, file or table yet.
                assert verdict.batches == 0, where
                continue
            assert verdict.sound, where
            assert verdict.lost(done) == [], where
            assert verdict.max_batch - len(done) in (0, 1), where


def test_the_guest_itself_goes_on_after_a_cut(tmp_path: Path) -> None:
    dice = random.Random(21)
    for cut_at, disk in cuts(2):
        done = commit_batches(disk, 2)
        again = CutDisk(SIZE, content=disk.after_cut(dice))
        more = commit_batches(again, 5)
        assert more, f"nothing was committed after a cut before operation {cut_at}"
        assert more[-1] == 5
        verdict = judge(tmp_path, again.read(0, SIZE))
        assert verdict.sound, verdict
        assert verdict.lost(done + more) == []


def loses_something(folder: Path, *, lies: bool) -> bool:
    dice = random.Random(22)
    for _, disk in cuts(3, lies=lies):
        done = commit_batches(disk, 3)
        verdict = judge(folder, disk.after_cut(dice))
        if done and (not verdict.sound or verdict.lost(done)):
            return True
    return False


def test_a_disk_that_ignores_flush_is_caught(tmp_path: Path) -> None:
    assert loses_something(tmp_path, lies=True)
    assert not loses_something(tmp_path, lies=False)


def test_a_vfs_that_ignores_sync_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Volume, "sync", lambda volume: None)
    assert loses_something(tmp_path, lies=False)


def test_a_table_written_before_the_data_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table_only(volume: Volume) -> None:
        if volume.dirty:
            volume.write_table()

    monkeypatch.setattr(Volume, "sync", table_only)
    assert loses_something(tmp_path, lies=False)


def test_a_hot_journal_in_the_image_is_rolled_back_by_the_verdict(tmp_path: Path) -> None:
    """Some cut leaves a half-written database beside a journal; sqlite3 outside mends it."""
    mended = 0
    for _, disk in cuts(2):
        done = commit_batches(disk, 2)
        content = disk.read(0, SIZE)  # everything that was written arrived: journal and database
        verdict = judge(tmp_path, content)
        if done:
            assert verdict.sound
            for path in verify.extract(tmp_path / "image", tmp_path):
                mended += path.name.endswith("-journal") and any(path.read_bytes()[:8])
    assert mended > 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    with FileDisk(tmp_path / "good.img", SIZE) as disk:
        assert commit_batches(disk, 4) == [1, 2, 3, 4]
    return tmp_path / "good.img"


def test_a_sound_image_is_found_sound(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = image.read_bytes()
    verdict = verify.verify(image)
    assert verdict.sound
    assert (verdict.batches, verdict.max_batch) == (4, 4)
    assert (verdict.rows, verdict.max_seq) == (4 * ROWS, 4 * ROWS)
    assert verdict.lost([1, 2, 3, 4]) == []
    assert verdict.lost([3, 4, 5]) == [5]
    assert image.read_bytes() == before
    assert verify.main([str(image)]) == 0
    assert '"sound": true' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM ledger WHERE batch = 2", ("missing_batches", [2])),
        ("DELETE FROM ledger WHERE seq = 5", ("partial_batches", [2])),
        ("DELETE FROM ledger WHERE seq = 5", ("missing_seqs", [5])),
        ("UPDATE ledger SET payload = x'00' WHERE seq = 7", ("damaged_seqs", [7])),
        ("UPDATE ledger SET batch = 9 WHERE seq = 7", ("damaged_seqs", [7])),
        ("UPDATE ledger SET payload = 'text' WHERE seq = 7", ("damaged_seqs", [7])),
    ],
)
def test_every_kind_of_damage_is_seen(
    image: Path, statement: str, expected: tuple[str, list[int]]
) -> None:
    device = _Rewrite(image)
    vfs = VolumeVFS(f"test-{next(_names)}", Volume(device))
    connection = apsw.Connection(DATABASE, vfs=vfs.name)
    connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
    connection.execute(statement)
    connection.close()
    vfs.unregister()
    device.close()
    verdict = verify.verify(image)
    assert not verdict.sound
    assert getattr(verdict, expected[0]) == expected[1]
    if expected[0] != "damaged_seqs":
        assert verdict.lost([1, 2, 3, 4]) == [2]


def test_a_damaged_file_is_seen(image: Path) -> None:
    content = bytearray(image.read_bytes())
    with_database = content.index(b"SQLite format 3\0")
    content[with_database + BLOCK : with_database + 2 * BLOCK] = b"\xee" * BLOCK
    image.write_bytes(content)
    assert verify.verify(image).integrity != "ok"


def test_what_is_no_database_is_a_verdict(tmp_path: Path) -> None:
    assert judge(tmp_path, bytes(SIZE)).integrity.startswith("no volume")
    disk = CutDisk(SIZE)
    Volume(disk)
    assert judge(tmp_path, disk.read(0, SIZE)).integrity.startswith("no database")
    assert verify.main([str(tmp_path / "absent")]) == 2


def test_console_lines_are_read_back() -> None:
    lines = ["database: on xvda", "commit 1", "(d3) commit 2", "commit x", "", "commit 17"]
    assert acknowledged(lines) == [1, 2, 17]
    assert row(1, 1, 1, 10) != row(2, 1, 1, 10)


class _Rewrite(verify.ImageFile):
    """An image that may be changed, to damage it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._out = path.open("r+b", buffering=0)

    def write(self, offset: int, data: bytes) -> None:
        self._out.seek(offset)
        self._out.write(data)

    def close(self) -> None:
        self._out.close()
        super().close()
