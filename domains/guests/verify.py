"""What is in the image of a database guest? Asked from outside, with other software.

The database and its journal are copied out of the raw image and opened with the standard
library's sqlite3, which rolls an interrupted transaction back as it would on any machine; neither
the guest's VFS nor its SQLite takes part.

    python -m domains.guests.verify db-primary.img
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from domains.guests.ledger import DATABASE, is_whole
from domains.guests.volume import Volume, VolumeError

_SHOWN: Final = 100


class ImageFile:
    """A raw image, opened for reading, as the device of a volume."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """OSError when the image ends before."""
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise OSError(f"the image ends within {length} bytes at {offset}")
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Never: PermissionError."""
        raise PermissionError("the image was opened for reading")

    def flush(self) -> None:
        """Nothing is written, so nothing waits."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@dataclass
class Verdict:
    """What `verify` found.

    ``integrity`` is "ok", or what is wrong with the file. Batches are transactions; ``batches``
    counts the whole ones, and 1 .. ``max_batch`` without gap is what a sound history looks like.
    """

    integrity: str
    batches: int = 0
    max_batch: int = 0
    rows: int = 0
    max_seq: int = 0
    missing_batches: list[int] = field(default_factory=list)
    """Batches below ``max_batch`` of which no row is there."""
    partial_batches: list[int] = field(default_factory=list)
    """Batches with fewer or more rows than they say: a transaction that was torn."""
    missing_seqs: list[int] = field(default_factory=list)
    """Rows below ``max_seq`` that are not there (at most 100 are listed)."""
    damaged_seqs: list[int] = field(default_factory=list)
    """Rows whose content is not what was written."""

    @property
    def sound(self) -> bool:
        """Integrity ok and a history without gap, tear or damage."""
        return self.integrity == "ok" and not (
            self.missing_batches or self.partial_batches or self.missing_seqs or self.damaged_seqs
        )

    def lost(self, acknowledged: Sequence[int]) -> list[int]:
        """Those of the acknowledged batches that are not there whole."""
        absent = set(self.missing_batches) | set(self.partial_batches)
        return sorted({n for n in acknowledged if n > self.max_batch or n in absent})


def extract(image: str | Path, folder: str | Path) -> list[Path]:
    """Copy every file of the volume in ``image`` into ``folder``; the paths written.

    Raises: OSError; VolumeError when the image holds no volume.
    """
    device = ImageFile(image)
    try:
        volume = Volume(device, readonly=True)
        paths = []
        for name in volume.names():
            path = Path(folder) / Path(name).name
            path.write_bytes(volume.read(name, 0, volume.size(name)))
            paths.append(path)
        return paths
    finally:
        device.close()


def verify(image: str | Path, database: str = DATABASE) -> Verdict:
    """Judge the database in ``image``, which is not changed. The guest should not be writing.

    A volume or database that cannot be read is a verdict, not an exception.

    Raises: OSError when the image itself cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="hvsim-verify-") as folder:
        try:
            paths = extract(image, folder)
        except VolumeError as error:
            return Verdict(f"no volume: {error}")
        path = Path(folder) / database
        if path not in paths:
            return Verdict(f"no database {database!r} on the volume")
        try:
            with closing(sqlite3.connect(path)) as connection:
                return _judge(connection)
        except sqlite3.Error as error:
            return Verdict(f"sqlite3: {error}")


def _judge(connection: sqlite3.Connection) -> Verdict:
    findings = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    verdict = Verdict("ok" if findings == ["ok"] else "; ".join(findings))
    query = "SELECT seq, batch, rows, payload, checksum FROM ledger ORDER BY seq"
    seen: dict[int, int] = {}
    says: dict[int, int] = {}
    missing_seqs: list[int] = []
    for found in connection.execute(query):
        seq, batch, rows = found[:3]
        verdict.rows += 1
        if not is_whole(found):  # nothing that it says is believed
            verdict.damaged_seqs.append(seq if isinstance(seq, int) else -1)
            continue
        if len(missing_seqs) < _SHOWN:
            missing_seqs += range(verdict.max_seq + 1, seq)
        verdict.max_seq = seq
        seen[batch] = seen.get(batch, 0) + 1
        says[batch] = rows
    verdict.max_batch = max(seen, default=0)
    verdict.partial_batches = sorted(n for n, count in seen.items() if count != says[n])
    verdict.missing_batches = sorted(set(range(1, verdict.max_batch + 1)) - set(seen))
    verdict.missing_seqs = missing_seqs[:_SHOWN]
    verdict.batches = len(seen) - len(verdict.partial_batches)
    return verdict


def main(argv: Sequence[str] | None = None) -> int:
    """The command: the verdict as one JSON object; exit status 1 when it is not sound."""
    parser = argparse.ArgumentParser(prog="python -m domains.guests.verify", description=__doc__)
    parser.add_argument("image", type=Path, help="raw image of the guest's disk")
    arguments = parser.parse_args(argv)
    try:
        verdict = verify(arguments.image)
    except OSError as error:
        print(f"{arguments.image}: {error}", file=sys.stderr)
        return 2
    found: dict[str, Any] = asdict(verdict) | {"sound": verdict.sound}
    print(json.dumps(found))
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    sys.exit(main())
