"""SQLite's files on a `Volume`: a VFS for APSW.

What the pager is promised: `xSync` returns when data and length are durable, `xDelete` when the
removal is. The sector size is the disk's 512 bytes, and nothing more is claimed (no atomic write,
no safe append, no powersafe overwrite), so SQLite journals as carefully as it can.

Locks live in this object only: a volume has one user, and connections share the VFS in it.
Temporary files are refused; use ``PRAGMA temp_store = MEMORY``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import apsw

from domains.guests.volume import Volume, VolumeError, VolumeFull

SECTOR: Final = 512


@dataclass
class _Locks:
    """Who holds what on one file: SQLite's five levels, between connections of this process."""

    levels: dict[int, int] = field(default_factory=dict)

    def level(self, holder: int) -> int:
        return self.levels.get(holder, apsw.SQLITE_LOCK_NONE)

    def others(self, holder: int) -> int:
        """The highest level that anybody else holds."""
        return max(
            (level for other, level in self.levels.items() if other != holder),
            default=apsw.SQLITE_LOCK_NONE,
        )

    def raise_to(self, holder: int, level: int) -> bool:
        """Take ``level`` if the others allow it. A refused EXCLUSIVE leaves PENDING behind."""
        others = self.others(holder)
        if level == apsw.SQLITE_LOCK_SHARED:
            granted = others < apsw.SQLITE_LOCK_PENDING
        elif level == apsw.SQLITE_LOCK_RESERVED:
            granted = others < apsw.SQLITE_LOCK_RESERVED
        else:
            granted = others < apsw.SQLITE_LOCK_SHARED
            if not granted and others < apsw.SQLITE_LOCK_RESERVED:
                self.levels[holder] = apsw.SQLITE_LOCK_PENDING
        if granted:
            self.levels[holder] = max(level, self.level(holder))
        return granted

    def lower_to(self, holder: int, level: int) -> None:
        if level == apsw.SQLITE_LOCK_NONE:
            self.levels.pop(holder, None)
        else:
            self.levels[holder] = min(level, self.level(holder))


class VolumeVFS(apsw.VFS):
    """The files of ``volume`` under the VFS name ``name``: ``Connection("main.db", vfs=name)``.

    `unregister` (of apsw.VFS) ends it. Errors of the device become SQLITE_IOERR, with the
    original as their cause; a full volume is SQLITE_FULL.
    """

    def __init__(self, name: str, volume: Volume) -> None:
        self.name: Final = name
        self.volume: Final = volume
        self._locks: Final[dict[str, _Locks]] = {}
        super().__init__(name, "", maxpathname=64)

    def xFullPathname(self, name: str) -> str:
        """Names are flat."""
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        """Whether the file exists; what exists may be read and written."""
        return self.volume.exists(pathname)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Remove the file, durably whatever ``syncdir`` says."""
        if not self.volume.exists(filename):
            raise apsw.IOError(f"no file {filename!r} on the volume")
        _io(self.volume.remove, filename)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open or make a file, as ``flags[0]`` says."""
        if name is None:
            raise apsw.CantOpenError("temporary files stay in memory on this volume")
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not self.volume.exists(path):
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"no file {path!r} on the volume")
            _io(self.volume.create, path)
        locks = self._locks.setdefault(path, _Locks())
        return _File(self, path, flags, locks)


class _File(apsw.VFSFile):
    """One open file."""

    def __init__(self, vfs: VolumeVFS, name: str, flags: list[int], locks: _Locks) -> None:
        # Not calling apsw's own __init__: that would open a file of the VFS below.
        self._volume = vfs.volume
        self._name = name
        self._locks = locks
        self._delete = bool(flags[0] & apsw.SQLITE_OPEN_DELETEONCLOSE)
        flags[1] = flags[0]

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(_io(self._volume.read, self._name, offset, amount))

    def xWrite(self, data: bytes, offset: int) -> None:
        _io(self._volume.write, self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        _io(self._volume.truncate, self._name, newsize)

    def xSync(self, flags: int) -> None:
        _io(self._volume.sync)

    def xFileSize(self) -> int:
        return int(_io(self._volume.size, self._name))

    def xClose(self) -> None:
        self._locks.lower_to(id(self), apsw.SQLITE_LOCK_NONE)
        if self._delete and self._volume.exists(self._name):
            _io(self._volume.remove, self._name)

    def xLock(self, level: int) -> None:
        if not self._locks.raise_to(id(self), level):
            raise apsw.BusyError(f"{self._name} is locked")

    def xUnlock(self, level: int) -> None:
        self._locks.lower_to(id(self), level)

    def xCheckReservedLock(self) -> bool:
        return any(level >= apsw.SQLITE_LOCK_RESERVED for level in self._locks.levels.values())

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0


def _io(operation: Any, *args: Any) -> Any:
    """Run an operation of the volume; its errors in SQLite's words."""
    try:
        return operation(*args)
    except VolumeFull as error:
        raise apsw.FullError(str(error)) from error
    except (OSError, ValueError, VolumeError) as error:
        raise apsw.IOError(str(error)) from error
