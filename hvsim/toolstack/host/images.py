"""Which images the disks of this lab have, and that nobody else has them.

The toolstack locks each image when it attaches a disk, whoever serves it, and holds the lock as
long as the disk is there: also while its driver domain is dead and built anew.  What it holds
stands in ``images.json`` of the run directory too, so that another lab which is refused can say by
whom.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hvsim.drivers.block import lock
from hvsim.drivers.block.lock import ImageBusy
from hvsim.linux import proc
from hvsim.toolstack.host.device import ImageUse
from hvsim.toolstack.host.refusal import Refusal

NOTE: Final = "images.json"
_NOTE_MAX: Final = 1 << 20
_HYPERVISOR: Final = b"hvsim.hypervisor"


@dataclass(slots=True)
class Held:
    """An image that a disk has.

    Attributes:
        fd: holds the lock; -1 where there can be none.
        identity: what all names of the image have in common.
        domain, vdev: whose disk it is.
    """

    fd: int
    identity: tuple[int, int]
    path: str
    domain: str
    vdev: str
    readonly: bool
    shared: bool


class Images:
    """The images of one lab's disks, by domid and device number."""

    def __init__(self, run_dir: Path) -> None:
        self.owner: Final = lock.owner_of(str(run_dir))
        self._run_dir: Final = run_dir
        self._held: dict[tuple[int, int], Held] = {}

    def claim(self, domid: int, devid: int, domain: str, use: ImageUse) -> Refusal | None:
        """Take the image of a disk; None when it is ours now.

        A file that cannot be looked at is somebody else's business: whoever opens it says why.
        """
        key, path = (domid, devid), use.path
        self._drop(key)
        try:
            identity = lock.identity(path)
        except (OSError, ValueError):
            return None
        if not use.shared:
            for held in self._held.values():
                if held.identity == identity and not (held.readonly and use.readonly):
                    return self._refusal(use, path, f"disk {held.vdev} of {held.domain!r}", held)
        try:
            fd = lock.claim(path, self.owner, readonly=use.readonly, shared=use.shared)
        except ImageBusy as busy:
            return self.busy(use.name, path, busy, identity, readonly=use.readonly)
        except OSError:
            fd = -1  # no locks there, or no right to read: the table above is all there is
        self._held[key] = Held(fd, identity, path, domain, use.name, use.readonly, use.shared)
        self._note()
        return None

    def release(self, domid: int, devid: int | None = None) -> None:
        """A disk is gone, or all of a domain are."""
        gone = [key for key in self._held if key[0] == domid and devid in (None, key[1])]
        for key in gone:
            self._drop(key)
        if gone:
            self._note()

    def busy(
        self,
        vdev: str,
        path: str,
        busy: ImageBusy,
        identity: tuple[int, int],
        *,
        readonly: bool,
    ) -> Refusal:
        """The refusal of an image that another lab has."""
        return in_use(vdev, path, whose(busy, identity, self._run_dir), busy.writes, readonly)

    def _refusal(self, use: ImageUse, path: str, who: str, held: Held) -> Refusal:
        return in_use(use.name, path, who, not held.readonly, use.readonly)

    def _drop(self, key: tuple[int, int]) -> None:
        held = self._held.pop(key, None)
        if held is not None and held.fd >= 0:
            os.close(held.fd)

    def _note(self) -> None:
        rows = [
            {
                "identity": held.identity,
                "path": held.path,
                "domain": held.domain,
                "vdev": held.vdev,
                "mode": "r" if held.readonly else "w!" if held.shared else "w",
            }
            for held in self._held.values()
        ]
        # Written in place: a rename would wait for the disk, and a reader can do with nonsense.
        text = json.dumps(rows).encode()
        with contextlib.suppress(OSError):  # it only serves to say it well
            fd = os.open(self._run_dir / NOTE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(fd, os.pwrite(fd, text, 0))
            finally:
                os.close(fd)


def in_use(vdev: str, path: str, who: str, writes: bool, readonly: bool) -> Refusal:
    """The refusal of an image that another disk has, in the manner of the block script."""
    mode = "read-only" if readonly else "read-write"
    how = "may write to it" if writes else "reads it"
    text = f"the image {path} is {who}, which {how}"
    remedy = (
        "give each its own image, or make both access=ro; to share one all the same write "
        "access=w!, or shared = true for the image in the lab file"
    )
    line = (
        "libxl: error: libxl_device.c:1337:device_hotplug_child_death_cb: script: "
        f"File {path} is {who}, which {how}, and so cannot be attached {mode} now. "
        f"{remedy[0].upper()}{remedy[1:]}."
    )
    return Refusal(f"disk {vdev}", text, remedy, (line,))


def whose(busy: ImageBusy, identity: tuple[int, int], run_dir: Path) -> str:
    """Who has an image: the disk and lab when they can be found."""
    for path in _run_dirs(run_dir):
        if lock.owner_of(str(path)) != busy.owner:
            continue
        for row in _noted(path):
            if row.get("identity") == list(identity):
                return f"disk {row.get('vdev')} of {row.get('domain')!r} in lab {path.name}"
        return f"in use by lab {path.name}"
    return "in use by a lab of another user"


def _run_dirs(run_dir: Path) -> Iterator[Path]:
    """Run directories of labs on this machine, as far as we may look: those beside ours, and
    those that hypervisors with another base directory write their log in."""
    with contextlib.suppress(OSError):
        yield from sorted(path for path in run_dir.parent.iterdir() if path.is_dir())
    for entry in (Path("/proc", str(pid)) for pid in proc.pids()):
        with contextlib.suppress(OSError):
            if _HYPERVISOR in (entry / "cmdline").read_bytes():
                log = Path(os.readlink(entry / "fd" / "2"))
                yield log.parent.parent


def _noted(run_dir: Path) -> list[dict[str, Any]]:
    """What a lab has noted of its images; nothing when it cannot be read or makes no sense."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(run_dir / NOTE, flags), "rb") as file:
            # Its owner may be a stranger, and we wait for nobody.
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return []
            rows = json.loads(file.read(_NOTE_MAX))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
