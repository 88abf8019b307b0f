"""The table that the database guest fills: rows that prove themselves.

A batch is one transaction. Every row says which batch it is of and how many rows that batch has,
and carries a payload that follows from its number, with a checksum; so a lost batch, half a batch
and a damaged row each show. Used by the guest to write and by `verify` to check.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

DATABASE: Final = "main.db"
"""Name of the database file on the volume; its journal is DATABASE + "-journal"."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    seq      INTEGER PRIMARY KEY,
    batch    INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    payload  BLOB    NOT NULL,
    checksum INTEGER NOT NULL
)"""

INSERT: Final = "INSERT INTO ledger (seq, batch, rows, payload, checksum) VALUES (?, ?, ?, ?, ?)"

ACKNOWLEDGEMENT: Final = "commit "
"""What a console line begins with that acknowledges a batch; the number follows."""

Row = tuple[int, int, int, bytes, int]


def payload(seq: int, size: int) -> bytes:
    """The bytes of row ``seq``: reproducible, different for every row, not compressible."""
    return hashlib.shake_128(seq.to_bytes(8, "little")).digest(size)


def row(seq: int, batch: int, rows: int, size: int) -> Row:
    """One row, ready for INSERT."""
    data = payload(seq, size)
    return seq, batch, rows, data, zlib.crc32(data, batch & 0xFFFFFFFF)


def is_whole(found: tuple[object, ...]) -> bool:
    """Is this row, as read back, what `row` made?  A damaged database gives values of any type."""
    match found:
        case (int(seq), int(batch), int(rows), bytes(data), int()) if seq >= 0:
            return seq < 1 << 64 and found == row(seq, batch, rows, len(data))
    return False


def acknowledged(lines: list[str]) -> list[int]:
    """The batches that these console lines acknowledge, in their order; other lines are skipped."""
    found = []
    for line in lines:
        _, word, rest = line.rpartition(ACKNOWLEDGEMENT)
        if word and rest.strip().isdigit():
            found.append(int(rest))
    return found
