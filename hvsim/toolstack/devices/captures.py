"""The captures of a toolstack: started, read and stopped by whoever wants the frames of a vif."""

import itertools
import re
from typing import Final

import anyio

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.devices.capture import Session, Vif
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.nodes import domain_path
from hvsim.wire.lab_requests import MAX_SNAPLEN, Capture

MAX_SESSIONS: Final = 8
IDLE_TIMEOUT: Final = 6.0
"""Seconds without a read after which a session is ended."""


class Captures:
    """The sessions of a toolstack, by number."""

    def __init__(self, toolstack: Toolstack) -> None:
        self._toolstack = toolstack
        self._sessions: dict[int, Session] = {}
        # No number of a toolstack that was here before is used again.
        self._first = int(anyio.current_time() * 1e9) if toolstack.dom.args.get("recover") else 1
        self._numbers = itertools.count(self._first)

    async def serve(self, request: Capture) -> dict[str, object]:
        """One request of the verb "capture".  Raises: ToolstackError."""
        match request.action:
            case "start":
                return await self._start(request)
            case "read":
                session = self._session(request)
                found = await session.read()
                return found
            case "stop":
                session = self._session(request)
                self._sessions.pop(request.session, None)
                seen, dropped = session.counts()
                await session.close()
                return {"seen": seen, "dropped": dropped}

    async def reap(self) -> None:
        """End sessions that nobody reads any more; until cancelled."""
        while True:
            await anyio.sleep(IDLE_TIMEOUT / 4)
            late = anyio.current_time() - IDLE_TIMEOUT
            for number, session in list(self._sessions.items()):
                if session.last_read < late:
                    self._sessions.pop(number, None)
                    await session.close()

    def _session(self, request: Capture) -> Session:
        session = self._sessions.get(request.session)
        if session is None and 0 <= request.session < self._first:
            raise ToolstackError(
                "capture: it has ended with the toolstack that read the frames, which has died"
            )
        if session is None:
            raise ToolstackError("capture: that capture has ended (nobody read it for a while)")
        return session

    async def _start(self, request: Capture) -> dict[str, object]:
        side, snaplen = request.side, request.snaplen
        if not 0 < snaplen <= MAX_SNAPLEN:
            raise ToolstackError(f"capture: snaplen must be from 1 to {MAX_SNAPLEN}", code=2)
        if len(self._sessions) >= MAX_SESSIONS:
            raise ToolstackError(f"capture: {MAX_SESSIONS} captures run already; end one first")
        vif = await self.find(request.vif)
        number = next(self._numbers)
        token = f"{int(anyio.current_time() * 1e9):x}.{number}"
        session = Session(self._toolstack, token, vif, side, snaplen)
        try:
            await session.attach()
        except HypercallError as error:
            raise ToolstackError(f"{vif.name}: {error}") from None
        self._sessions[number] = session
        async with self._toolstack.store() as store:
            root = f"{INTERFACES.root(vif.domid)}/{vif.devid}"
            guest, mac = await store.read_many([f"{domain_path(vif.domid)}/name", f"{root}/mac"])
        return {
            "session": number,
            "vif": vif.name,
            "guest": guest or f"domain {vif.domid}",
            "guest_domid": vif.domid,
            "devid": vif.devid,
            "mac": mac or "",
            "domid": session.domid,
            "tapped": await self._name(session.domid),
            "side": side,
        }

    async def _name(self, domid: int) -> str:
        async with self._toolstack.store() as store:
            return await store.read(f"{domain_path(domid)}/name") or f"domain {domid}"

    async def find(self, text: str) -> Vif:
        """The vif that "vif3.0", "GUEST/0" or "GUEST" names.  Raises: ToolstackError."""
        match = re.fullmatch(r"vif(\d{1,5})\.(\d{1,3})", text)
        if match is not None:
            return Vif(int(match[1]), int(match[2]))
        guest, slash, number = text.rpartition("/")
        if not slash:
            guest, number = text, "0"
        if not guest or not number.isdecimal() or len(number) > 3:
            raise ToolstackError(
                f"{text!r} names no interface: say vif3.0 (domain 3, interface 0) or GUEST/0"
            )
        async with self._toolstack.store() as store:
            domid = await self._toolstack.find(store, guest)
        if domid is None:
            raise ToolstackError(f"{guest} is an invalid domain identifier")
        return Vif(domid, int(number))
