"""Captures: the toolstack reads the frames of a vif from a ring that one of its halves grants.

Whoever wants a capture (`hvsim capture`) starts a session, reads it again and again, and stops it.
Each read takes what is there, so a slow reader costs frames (counted by the tap that has no room),
never memory of the toolstack. A session that nobody reads any more is ended. When the backend's
domain dies, the session goes on with the one that takes its place.

What a domain put into its ring is copied once and passed on unread, within the bounds of the ring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import anyio

from hvsim.domain.mapper import GrantError, Mapping
from hvsim.drivers.capture.ring import CaptureReader, ring_refs
from hvsim.drivers.capture.tap import ANSWER_KEY, REQUEST_KEY
from hvsim.errors import BrokenByPeer
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.host.waiting import Dom0Process, Other, Party
from hvsim.xs import requests
from hvsim.xs.requests import StoreError

SIDES: Final = ("front", "back")
RING_PAGES: Final = 256
"""Data pages of a capture ring: 1 MiB, taken from the memory of the domain that is tapped."""
ANSWER_TIMEOUT: Final = 5.0
"""Seconds that a half has to come up and to answer."""
READ_TIMEOUT: Final = 0.2
"""Seconds that a read waits for frames."""
POLL: Final = 0.004
"""Seconds between two looks into a ring; a ring asks for no doorbell, so a tap never rings."""
LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at the domain that is tapped."""
FOLLOW: Final = 0.02
"""Seconds between two looks for the backend that takes the place of a dead one."""
_PROBED: Final = ("2", "3", "4")


@dataclass(frozen=True, slots=True)
class Vif:
    """A virtual interface, by guest and number."""

    domid: int
    devid: int

    @property
    def name(self) -> str:
        """As its backend's domain calls it."""
        return f"vif{self.domid}.{self.devid}"


def _party(domid: int) -> Party:
    """Who has a half that is in the tree of a domain."""
    return Other(domid) if domid else Dom0Process("kernel")


class _Attachment:
    """A ring of one domain, mapped."""

    def __init__(self, toolstack: Toolstack, domid: int, ref: int) -> None:
        """Raises: GrantError, BrokenByPeer; nothing is kept then."""
        mapper = toolstack.dom.mapper
        self.domid = domid
        self._first: Mapping = mapper.map(domid, ref)
        try:
            refs = ring_refs(self._first.view)
            self._data: Mapping = mapper.map_contiguous(domid, refs)
        except BaseException:
            self._first.unmap()
            raise
        self.reader = CaptureReader(self._first.view, self._data.view)

    def close(self) -> None:
        self.reader.release()
        self._data.unmap()
        self._first.unmap()


class Session:
    """One capture.

    Attributes:
        vif, side: of what.
        domid: of the domain that is tapped now.
        last_read: monotonic seconds.
        ended: why nothing more will come, "" while it may.
    """

    def __init__(self, toolstack: Toolstack, token: str, vif: Vif, side: str, snaplen: int) -> None:
        self.vif = vif
        self.side = side
        self.domid = -1
        self.ended = ""
        self.last_read = anyio.current_time()
        self._toolstack = toolstack
        self._token = token
        self._snaplen = snaplen
        self._path = ""
        self._attachment: _Attachment | None = None
        self._seen = self._dropped = 0
        self._looked = 0.0
        self._lock = anyio.Lock()

    async def attach(self) -> None:
        """Ask the half for its ring and map it.  Raises: ToolstackError."""
        async with self._toolstack.store() as store:
            path = await self._half(store)
            where = await self._domid_of(store, path)
            try:
                what = f"the {self.side} half of {self.vif.name} to be at work"
                await store.wait_for(
                    f"{path}/state", lambda s: s in _PROBED, ANSWER_TIMEOUT, what, _party(where)
                )
            except TimeoutError:
                state = await store.read(f"{path}/state")
                raise ToolstackError(
                    f"{self.vif.name}: its {self.side} half in domain {where} is in state "
                    f"{state or '(gone)'}: nothing crosses it{self._because(where)}"
                ) from None
            asked = await store.read(f"{path}/{REQUEST_KEY}")
            if asked is not None and not asked.startswith(f"{self._token} "):
                raise ToolstackError(
                    f"{self.vif.name}: its {self.side} half is being captured already"
                )
            self._path = path
            try:
                ref = await self._ask(store, where)
                self._attachment = _Attachment(self._toolstack, where, ref)
            except (GrantError, BrokenByPeer, ToolstackError) as error:
                await self._take_back(store)
                raise ToolstackError(f"{self.vif.name}: {self.side} half: {error}") from None
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._take_back(store)
                raise
        self.domid = where

    async def read(self) -> dict[str, object]:
        """What is there, after a short wait for it.  Raises: ToolstackError."""
        async with self._lock:
            self.last_read = anyio.current_time()
            deadline = self.last_read + READ_TIMEOUT
            domid, taken = self.domid, b""
            while not taken and not self.ended:
                if self._attachment is not None:
                    taken = await self._take()
                if anyio.current_time() >= deadline:
                    break
                if not taken and not self.ended:
                    if self._attachment is None:
                        if await self._follow():
                            break
                        await anyio.sleep(FOLLOW)
                    else:
                        await anyio.sleep(POLL)
            seen, dropped = self.counts()
            return {
                "records": taken,
                "domid": domid,
                "seen": seen,
                "dropped": dropped,
                "ended": self.ended,
            }

    async def close(self) -> None:
        """End it: the ring is unmapped, then the half is told."""
        async with self._lock:
            self._let_go()
            if self._path:
                try:
                    async with self._toolstack.store() as store:
                        await self._take_back(store)
                except (OSError, StoreError):
                    pass  # the store goes down with the lab

    # -- inside ----------------------------------------------------------------------------

    async def _half(self, store: Store) -> str:
        """The directory of the half, from libxl's own copy, which no guest can write."""
        root = f"{INTERFACES.root(self.vif.domid)}/{self.vif.devid}"
        end = "frontend" if self.side == "front" else "backend"
        path = await store.read(f"{root}/{end}")
        if path is None:
            raise ToolstackError(
                f"domain {self.vif.domid} has no vif {self.vif.devid}; "
                f"`hvsim xl network-list {self.vif.domid}` shows its interfaces"
            )
        return path

    async def _domid_of(self, store: Store, path: str) -> int:
        """Whose directory it is."""
        match = re.match(r"/local/domain/(\d+)/", path)
        if match is None:
            raise ToolstackError(f"{path} is in no domain's tree")
        return int(match[1])

    async def _ask(self, store: Store, where: int) -> int:
        """The reference of the ring that the half grants.  Raises: ToolstackError."""
        mine = f"{self._token} "
        path = self._path

        async def ask(tx: int) -> None:
            if await store.read(f"{path}/state", tx) is None:
                raise ToolstackError("it is gone")  # a plain write would make it anew
            key, value = f"{path}/{REQUEST_KEY}", f"{self._token} {self._snaplen} {RING_PAGES}"
            await store.apply([requests.write(key, value)._replace(tx=tx)])

        await store.transaction(ask, f"{path}: capture")
        try:
            answer = await store.wait_for(
                f"{self._path}/{ANSWER_KEY}",
                lambda text: text is not None and text.startswith(mine),
                ANSWER_TIMEOUT,
                f"the {self.side} half of {self.vif.name} to grant its frames",
                _party(where),
            )
        except TimeoutError:
            why = self._because(where) or "; its driver runs, and is one that cannot be tapped"
            raise ToolstackError(f"no answer within {ANSWER_TIMEOUT:g} s{why}") from None
        said = (answer or "")[len(mine) :]
        if not said.isdecimal() or len(said) > 10:
            raise ToolstackError(said.removeprefix("error ")[:200])
        return int(said)

    def _because(self, domid: int) -> str:
        """What is wrong with who serves a half, behind a sentence; "" for nothing."""
        trouble = _party(domid).trouble(self._toolstack.census())
        return "" if trouble is None else f": {trouble.text}"

    async def _take_back(self, store: Store) -> None:
        keys = (REQUEST_KEY, ANSWER_KEY)
        await store.batch([requests.rm(f"{self._path}/{key}") for key in keys])

    async def _take(self) -> bytes:
        """The next records.  When the domain has gone, what it left and then no ring."""
        attachment = self._attachment
        assert attachment is not None
        try:
            taken = attachment.reader.take()
        except BrokenByPeer as error:
            self._let_go()
            self.ended = f"domain {attachment.domid} broke its capture ring: {error}"
            return b""
        now = anyio.current_time()
        if not taken and now - self._looked > LOOK_AGAIN:
            self._looked = now
            if not await self._there():
                self._let_go()
        return taken

    async def _there(self) -> bool:
        """Whether the half that is tapped is still the one that counts."""
        if not self._lives(self.domid):
            return False
        try:
            async with self._toolstack.store() as store:
                return await self._half(store) == self._path
        except ToolstackError:
            return False

    def _lives(self, domid: int) -> bool:
        """Whether a domain runs."""
        info = self._toolstack.hypervisor.info(domid)
        return info is not None and not info.dying and not info.shutdown

    async def _follow(self) -> bool:
        """Tap the half that has come in place of one that has gone; whether there is one."""
        try:
            async with self._toolstack.store() as store:
                path = await self._half(store)
                where = await self._domid_of(store, path)
                state = await store.read(f"{path}/state")
        except ToolstackError:
            self.ended = f"{self.vif.name} is gone"
            return False
        # What a dead domain has left in the store, and its ring, are there for a while yet.
        if not self._lives(where):
            if self.side == "front":
                self.ended = f"domain {self.domid} is gone"
            return False
        if state not in _PROBED:
            return False
        try:
            await self.attach()
        except ToolstackError as error:
            if self.side == "front" or self._lives(where):
                self.ended = "; ".join(error.lines)
            return False
        return True

    def counts(self) -> tuple[int, int]:
        """Frames that were seen, and those that found no room."""
        if self._attachment is not None:
            reader = self._attachment.reader
            return self._seen + reader.seen, self._dropped + reader.dropped
        return self._seen, self._dropped

    def _let_go(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            self._seen += attachment.reader.seen
            self._dropped += attachment.reader.dropped
            attachment.close()
