"""libxl's userdata: files that it keeps of each domain, in the lab's own /var/lib/xen.

``libxl-json`` is the domain's config (``libxl_json``): the real xl cannot attach a device to a
domain without it.  Both of us write it, under libxl's lock.

Source: tools/libs/light/libxl_dom.c (libxl__userdata_path ...) and libxl_internal.c
(libxl__lock_file).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from hvsim.toolstack.host.errors import ToolstackError

CONFIG: Final = "libxl-json"
LOCK_TIMEOUT: Final = 10.0
"""Seconds that somebody else may hold the lock of a domain."""
_LOOK: Final = 0.005


class LibxlFiles:
    """The files of all domains of a lab.

    Args:
        folder: the lab's /var/lib/xen.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, kind: str, domid: int, uuid: str, name: str) -> Path:
        return self._folder / f"userdata-{kind}.{domid}.{uuid}.{name}"

    @asynccontextmanager
    async def locked(self, domid: int, uuid: str) -> AsyncIterator[None]:
        """Nobody else changes the files of a domain.

        Raises: ToolstackError, which names the file, when somebody has them for too long; OSError.
        """
        path = self._path("l", domid, uuid, "domain-userdata-lock")
        fd = await _lock(path)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            os.close(fd)

    def load(self, domid: int, uuid: str) -> dict[str, Any] | None:
        """The config of a domain; None when there is none that can be read."""
        try:
            found = json.loads(self._path("d", domid, uuid, CONFIG).read_bytes().rstrip(b"\0"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def store(self, domid: int, uuid: str, config: dict[str, Any]) -> None:
        """Write it, in one step for every reader.  Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._path("n", domid, uuid, CONFIG)
        # libxl writes the zero that ends its text as well, and wants one.
        new.write_bytes(json.dumps(config, indent=4).encode() + b"\n\0")
        new.chmod(0o600)
        new.rename(self._path("d", domid, uuid, CONFIG))

    def destroy(self, domid: int, uuid: str) -> None:
        """Remove all that there is of a domain."""
        for path in self._folder.glob(f"userdata-?.{domid}.{uuid}.*"):
            with contextlib.suppress(OSError):
                path.unlink()


async def _lock(path: Path) -> int:
    """A locked descriptor of the file that is there now: whoever had it before removes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with anyio.move_on_after(LOCK_TIMEOUT):
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return fd
            except (BlockingIOError, FileNotFoundError):
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
            await anyio.sleep(_LOOK)
    raise ToolstackError(
        f"xl: a program holds {path} for more than {LOCK_TIMEOUT:g} s; an xl in Domain-0, perhaps"
    )
