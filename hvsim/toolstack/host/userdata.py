"""What the toolstack must know of a domain after its own death, and nobody else has.

The hypervisor has the domain, the store its devices.  How it was made (the config's text, the
program and its arguments, the files it may open), whether it is to be made again, and what was
being done to it, is the toolstack's own.  It keeps that where libxl keeps what it must not forget:
as userdata of the domain, a file for each, in a folder of the lab

    <run>/libxl/userdata-d.<domid>.<uuid>.hvsim

written whole and then renamed, so that there is the old text or the new one (libxl_dom.c,
libxl__userdata_store; its own file is called libxl-json).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.userdata_files import FORMAT, file_name, read_raw
from hvsim.wire.typed import BadMessage, read

Stage = Literal["building", "built", "ending", "again"]
"""A domain is being built, is there, is being destroyed, or (``again``) is being destroyed to be
made anew; the note of the last one stays until the new domain is there."""


@dataclass(slots=True)
class Record:
    """The note of one domain.

    Attributes:
        replaces: the domain that this one is made in the place of; None for a first life.
        lives: of ``Restarts.record``.
        handled: its shutdown was acted upon; it stays as it is.
        gave_up: why it is not made again any more.
        changing: devices that are being attached or detached, as "vbd/51712".
    """

    domid: int
    uuid: str
    name: str
    request: CreateRequest
    stage: Stage
    replaces: int | None = None
    lives: dict[str, Any] = field(default_factory=dict)
    handled: bool = False
    gave_up: str = ""
    changing: list[str] = field(default_factory=list)


class Userdata:
    """The notes of all domains.

    Args:
        folder: made at the first note.
        log: told of what cannot be kept or read; the toolstack goes on without.
    """

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._folder: Final = folder
        self._log: Final = log

    def keep(self, record: Record) -> None:
        """Write a note, or write it anew."""
        path = self._path(record.domid, record.uuid)
        temporary = path.with_name(f".{path.name}")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            temporary.write_text(json.dumps({"format": FORMAT, **asdict(record)}), "utf-8")
            os.replace(temporary, path)
        except (OSError, TypeError, ValueError) as failure:
            self._log(f"{record.name} would not survive the toolstack: {path.name}: {failure}")

    def drop(self, domid: int, uuid: str) -> None:
        """Remove a note.  Idempotent."""
        try:
            self._path(domid, uuid).unlink(missing_ok=True)
        except OSError as failure:
            self._log(f"{self._path(domid, uuid)}: {failure.strerror}")

    def records(self) -> Iterator[Record]:
        """All that can be read, by domid."""
        yield from read_all(self._folder, self._log)

    def _path(self, domid: int, uuid: str) -> Path:
        return self._folder / file_name(domid, uuid)


def read_all(folder: Path, log: Callable[[str], None] = lambda text: None) -> Iterator[Record]:
    """The notes in *folder*, by domid."""
    for raw in read_raw(folder, log):
        try:
            yield read(Record, raw)
        except BadMessage as failure:
            name = file_name(raw["domid"], str(raw.get("uuid")))
            log(f"{name} cannot be read: {failure!r}")
