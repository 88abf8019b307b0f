"""A few named files on a bare device, in a layout that a power cut cannot break.

    block 0, 1   the table, twice: each write goes to the older of the two slots, so that a torn
                 write leaves the other one whole; a checksum tells them apart, a sequence number
                 says which is newer
    block 2 ...  the files, each in one contiguous region

A region is given when a file is made and may grow into free space behind it. A file's bytes and
size are durable when `sync` returns; its removal when `remove` returns. Between the two, a power
cut leaves for each written sector either its old or its new content, as with any file system.

The table, little endian: magic ``HVSIMVOL``, u32 version, u32 count, u64 sequence, then per file
40 bytes of name (NUL padded), u64 offset, u64 capacity, u64 size; the last four bytes of the
block are the CRC-32 of all before them.

The module is pure: the device is handed in.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from domains.guests.device import Device

BLOCK: Final = 4096
DATA: Final = 2 * BLOCK
MAGIC: Final = b"HVSIMVOL"
VERSION: Final = 1
NAME_MAX: Final = 40

_HEAD: Final = struct.Struct("<8sIIQ")
_ENTRY: Final = struct.Struct(f"<{NAME_MAX}sQQQ")
_CRC: Final = struct.Struct("<I")
MAX_FILES: Final = (BLOCK - _HEAD.size - _CRC.size) // _ENTRY.size


class VolumeError(Exception):
    """The device holds no volume, or a damaged one, or the request makes no sense."""


class VolumeFull(VolumeError):
    """No room for the file, or none behind its region."""


@dataclass
class Entry:
    """One file: where it lies, how far it may grow there, how long it is (bytes)."""

    offset: int
    capacity: int
    size: int


class Volume:
    """The files of one device. One user at a time; nothing here is thread-safe.

    Raises, at construction: VolumeError when the device is too small, or holds something that is
    no volume (a device full of zeros becomes an empty volume; ``readonly=True`` refuses that too).
    Every method passes on the device's own errors.

    Attributes:
        dirty: whether the table in memory differs from the one on the device.
    """

    def __init__(self, device: Device, *, readonly: bool = False) -> None:
        self._device: Final = device
        self._readonly: Final = readonly
        if device.size < DATA + BLOCK:
            raise VolumeError(f"{device.size} bytes are too few, a volume needs {DATA + BLOCK}")
        slots = [device.read(slot * BLOCK, BLOCK) for slot in (0, 1)]
        tables = [_parse(slot, device.size) for slot in slots]
        valid = [table for table in tables if table is not None]
        self.dirty = False
        if valid:
            self._sequence, self._files = max(valid, key=lambda table: table[0])
        elif readonly or not _is_blank(slots):
            raise VolumeError("no volume on this device, and it is not blank")
        else:
            self._sequence, self._files = 0, {}
            self.write_table()

    def names(self) -> list[str]:
        """Names of all files, sorted."""
        return sorted(self._files)

    def exists(self, name: str) -> bool:
        """Is there a file of that name?"""
        return name in self._files

    def size(self, name: str) -> int:
        """Its length in bytes. Raises VolumeError when there is none."""
        return self._entry(name).size

    def create(self, name: str, capacity: int | None = None) -> None:
        """Make an empty file; nothing happens when it exists. Durable with its first `sync`.

        ``capacity`` is what it may hold, in bytes; by default half of the largest free space.

        Raises: VolumeFull; VolumeError for a name that is empty or longer than 40 bytes.
        """
        self._check_writable()
        if name in self._files:
            return
        encoded = name.encode()
        if not 0 < len(encoded) <= NAME_MAX or b"\0" in encoded:
            raise VolumeError(f"{name!r} is not a name of 1 to {NAME_MAX} bytes")
        if len(self._files) >= MAX_FILES:
            raise VolumeFull(f"the table holds {MAX_FILES} files")
        start, length = max(self._gaps(), key=lambda gap: gap[1], default=(0, 0))
        wanted = _blocks(capacity) if capacity is not None else _blocks(length // 2)
        if wanted > length or not length:
            raise VolumeFull(f"no free region of {wanted} bytes for {name!r}; largest: {length}")
        self._files[name] = Entry(start, wanted, 0)
        self.dirty = True

    def read(self, name: str, offset: int, length: int) -> bytes:
        """What the file has of these bytes: fewer than ``length`` at its end."""
        entry = self._entry(name)
        length = max(0, min(length, entry.size - offset))
        return self._device.read(entry.offset + offset, length) if length else b""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write ``data``, growing the file as needed; a gap reads as zeros.

        Raises: VolumeFull when the region cannot grow that far; nothing was written then.
        """
        self._check_writable()
        entry = self._entry(name)
        end = offset + len(data)
        if end > entry.capacity:
            self._grow(name, entry, end)
        if offset > entry.size:
            data = bytes(offset - entry.size) + data
            offset = entry.size
        self._device.write(entry.offset + offset, data)
        if end > entry.size:
            entry.size = end
            self.dirty = True

    def truncate(self, name: str, size: int) -> None:
        """Cut the file to ``size`` bytes, or lengthen it with zeros."""
        entry = self._entry(name)
        if size > entry.size:
            self.write(name, entry.size, bytes(size - entry.size))
        elif size < entry.size:
            self._check_writable()
            entry.size = size
            self.dirty = True

    def sync(self) -> None:
        """Return when every write, and every file's size, is durable.

        The data go first: no table that survives ever speaks of bytes that did not.
        """
        self._device.flush()
        if self.dirty:
            self.write_table()

    def remove(self, name: str) -> None:
        """Remove the file, durably: its region may be given away at once.

        Raises: VolumeError when there is none.
        """
        self._check_writable()
        self._entry(name)
        del self._files[name]
        self._device.flush()
        self.write_table()

    # -- inside ----------------------------------------------------------------------------

    def _entry(self, name: str) -> Entry:
        try:
            return self._files[name]
        except KeyError:
            raise VolumeError(f"no file {name!r} on this volume") from None

    def _check_writable(self) -> None:
        if self._readonly:
            raise VolumeError("the volume was opened for reading")

    def _gaps(self) -> list[tuple[int, int]]:
        """Free regions as (offset, length), in order."""
        gaps = []
        position = DATA
        for entry in sorted(self._files.values(), key=lambda entry: entry.offset):
            if entry.offset > position:
                gaps.append((position, entry.offset - position))
            position = entry.offset + entry.capacity
        end = self._device.size - self._device.size % BLOCK
        if end > position:
            gaps.append((position, end - position))
        return gaps

    def _grow(self, name: str, entry: Entry, end: int) -> None:
        needed = _blocks(end)
        behind = entry.offset + entry.capacity
        free = next((length for start, length in self._gaps() if start == behind), 0)
        if needed > entry.capacity + free:
            raise VolumeFull(f"{name!r} cannot grow to {end} bytes: {free} free behind its region")
        entry.capacity = needed
        self.dirty = True

    def write_table(self) -> None:
        """Write the table into the older of its two slots, durably."""
        sequence = self._sequence + 1
        body = _HEAD.pack(MAGIC, VERSION, len(self._files), sequence) + b"".join(
            _ENTRY.pack(name.encode(), entry.offset, entry.capacity, entry.size)
            for name, entry in sorted(self._files.items())
        )
        body = body.ljust(BLOCK - _CRC.size, b"\0")
        # Odd tables in slot 1, even ones in slot 0: never over the newest valid one.
        self._device.write(sequence % 2 * BLOCK, body + _CRC.pack(zlib.crc32(body)))
        self._sequence = sequence
        self._device.flush()
        self.dirty = False


def _blocks(length: int) -> int:
    return max(BLOCK, length + -length % BLOCK)


def _is_blank(slots: list[bytes]) -> bool:
    """Zeros, or the very first table torn: nothing can have been promised yet."""
    first_sector = slots[1][:512]
    return not any(slots[0]) and (not any(first_sector) or first_sector.startswith(MAGIC))


def _parse(slot: bytes, device_size: int) -> tuple[int, dict[str, Entry]] | None:
    """Sequence and files of a slot, None if it holds no whole table."""
    body, (crc,) = slot[: -_CRC.size], _CRC.unpack(slot[-_CRC.size :])
    magic, version, count, sequence = _HEAD.unpack_from(body)
    if magic != MAGIC or zlib.crc32(body) != crc:
        return None
    if version != VERSION or count > MAX_FILES:
        raise VolumeError(f"a volume of version {version} with {count} files; this is {VERSION}")
    files: dict[str, Entry] = {}
    for index in range(count):
        name, *numbers = _ENTRY.unpack_from(body, _HEAD.size + index * _ENTRY.size)
        entry = Entry(*numbers)
        inside = entry.offset >= DATA and entry.offset + entry.capacity <= device_size
        if not inside or entry.size > entry.capacity:
            raise VolumeError(f"file {name!r} lies outside the device of {device_size} bytes")
        files[name.rstrip(b"\0").decode()] = entry
    return sequence, files
