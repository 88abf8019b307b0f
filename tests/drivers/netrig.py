"""Guests and backends with vifs on the real hypervisor, in this process, turn by turn.

The store is the small one of tests/support. A link of the backend is one end of a packet socket:
one read is one frame with its virtio_net_hdr, as of a TAP; the test holds the other end, the wire.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from hvsim.domain.domain import Domain
from tests.support.hv import Hypervisor, turn
from tests.support.ministore import MiniStore

VNET = bytes(10)
MAC = "00:16:3e:00:00:{:02x}"
TURNS = 12000


def mac_of(guest: Domain) -> str:
    """The address of a guest's interface."""
    return MAC.format(guest.domid % 256)


def woken_by(dom: Domain, ring: Callable[[], object], times: int) -> int:
    """How often a domain whose bell is rung so many times wakes of it."""
    woken = 0
    for _ in range(times):
        ring()
        if dom.vcpu.block(0):
            woken += 1
            dom.vcpu.dispatch()
    return woken


class Wire:
    """The far side of a link: what the bridge would be.

    Attributes:
        fd: the driver's end; name, close and the rest are what a driver may ask of a link.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._ours = ours
        self._theirs: socket.socket | None = theirs
        self.fd = theirs.fileno()
        self.up = True

    # -- for the driver ------------------------------------------------------------------------

    def close(self) -> None:
        """The driver is done with its link."""
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            theirs.close()

    def fileno(self) -> int:
        """For a poll."""
        return self.fd

    @property
    def closed(self) -> bool:
        """Whether the driver has closed it."""
        return self._theirs is None

    def set_carrier(self, on: bool) -> None:
        """Whether somebody is at the other end."""
        self.up = on

    # -- for the test --------------------------------------------------------------------------

    def send(self, frame: bytes, vnet: bytes = VNET) -> bool:
        """A frame for the guest; False when the link takes no more."""
        try:
            self._ours.send(vnet + frame)
        except BlockingIOError:
            return False
        return True

    def receive(self) -> list[tuple[bytes, bytes]]:
        """(virtio_net_hdr, frame) of everything that came out."""
        found: list[tuple[bytes, bytes]] = []
        while True:
            try:
                data = self._ours.recv(1 << 17)
            except BlockingIOError:
                return found
            if not data:
                return found
            found.append((data[:10], data[10:]))

    def frames(self) -> list[bytes]:
        """The frames alone."""
        return [frame for _, frame in self.receive()]

    def lose(self) -> None:
        """The link goes.  A frame that nobody has taken from it makes that a read error."""
        self._ours.close()

    def cut(self) -> None:
        """The test is done with it."""
        self.close()
        self._ours.close()


class NetRig:
    """Domains with vifs, and what the toolstack writes for them."""

    def __init__(self, hv: Hypervisor) -> None:
        self.hv = hv
        self.store = MiniStore()
        self.tool = self.store.connect(0, "XL")
        self.live: list[Domain] = []
        self.wires: list[Wire] = []
        self.closing: list[Callable[[], None]] = []

    def domain(self, pages: int = 4096, **args: Any) -> Domain:
        """A domain that takes turns."""
        dom = self.hv.domain(pages)
        dom.use_store(self.store.connect(dom.domid, f"d{dom.domid}"))
        dom.args.update(args)
        self.live.append(dom)
        return dom

    def wire(self, name: str) -> Wire:
        """A link for a vif of that name."""
        wire = Wire(name)
        self.wires.append(wire)
        return wire

    def wire_of(self, guest: Domain, index: int = 0) -> Wire:
        """The newest link that was made for a guest's interface."""
        name = f"vif{guest.domid}.{index}"
        return next(wire for wire in reversed(self.wires) if wire.name == name)

    @staticmethod
    def front_path(guest: Domain, index: int = 0) -> str:
        """The frontend's directory."""
        return f"/local/domain/{guest.domid}/device/vif/{index}"

    @staticmethod
    def back_path(back: Domain, guest: Domain, index: int = 0) -> str:
        """The backend's directory."""
        return f"/local/domain/{back.domid}/backend/vif/{guest.domid}/{index}"

    def attach(self, back: Domain, guest: Domain, index: int = 0, **more: str) -> None:
        """What the toolstack writes, also to move the interface to another backend."""
        front, backend = self.front_path(guest, index), self.back_path(back, guest, index)
        mac = mac_of(guest)
        back_keys = {
            "frontend": front,
            "frontend-id": str(guest.domid),
            "online": "1",
            "toolstack": "hvsim",
            "script": "/etc/xen/scripts/vif-bridge",
            "mac": mac,
            "bridge": "xenbr0",
            "handle": str(index),
            "type": "vif",
            "hotplug-status": "",
            "state": "1",
            **{key.replace("_", "-"): value for key, value in more.items()},
        }
        front_keys = {
            "backend": backend,
            "backend-id": str(back.domid),
            "handle": str(index),
            "mac": mac,
            "trusted": "1",
            "mtu": "1500",
            "state": "1",
        }

        def body(tx: int) -> None:
            for key, value in back_keys.items():
                self.tool.write(f"{backend}/{key}", value, tx)
            for key, value in front_keys.items():
                self.tool.write(f"{front}/{key}", value, tx)

        self.tool.transaction(body, "attach")

    def publish(self, guest: Domain, keys: dict[str, str], state: str, index: int = 0) -> None:
        """Write a frontend's keys and then its state, as the guest."""
        path = self.front_path(guest, index)
        client = self.store.connect(guest.domid, f"d{guest.domid}-raw")
        for key, value in keys.items():
            client.write(f"{path}/{key}", value)
        client.write(f"{path}/state", state)
        self.store.settle()

    def write(self, path: str, value: str) -> None:
        """As the toolstack."""
        self.tool.write(path, value)

    def state(self, path: str) -> str | None:
        """The state of a half."""
        return self.store.get(f"{path}/state")

    def errors(self, dom: Domain) -> list[str]:
        """What a domain wrote into its error nodes."""
        mark = f"d{dom.domid} WRITE error/"
        return [line.split(" ", 3)[3] for line in self.store.trace if line.startswith(mark)]

    def turn(self, wait: float = 0.0005) -> None:
        """Every domain once."""
        self.store.settle()
        turn(self.live, wait)

    def run(self, pred: Callable[[], bool], what: str, turns: int = TURNS) -> None:
        """Every domain in turn, until `pred` holds."""
        for _ in range(turns):
            self.store.settle()
            if pred():
                return
            self.turn()
        raise AssertionError(f"never: {what}")

    def rest(self, turns: int = 20) -> None:
        """Let everybody do what is there to do."""
        for _ in range(turns):
            self.turn(0.0)

    def kill(self, dom: Domain) -> None:
        """As if by SIGKILL: no driver code of it runs any more."""
        self.live.remove(dom)
        for connection in [c for c in self.store.connections if c.domid == dom.domid]:
            self.store.connections.remove(connection)
        self.hv.destroy(dom)
        self.tool.rm(f"/local/domain/{dom.domid}")

    def close(self) -> None:
        """All of it, whatever fails."""
        with contextlib.ExitStack() as stack:
            for wire in self.wires:
                stack.callback(wire.cut)
            for dom in self.live:
                stack.callback(dom.stop_drivers)
            for fn in self.closing:
                stack.callback(fn)


@contextlib.contextmanager
def flipping(flip: Callable[[], None]) -> Iterator[None]:
    """Another process does `flip` as fast as it can meanwhile: a peer that writes while we read.

    Shared pages are shared with it, since it is forked; it ends with the block.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(told)
            os.write(tell, b"x")
            deadline = time.monotonic() + 60.0
            while time.monotonic() < deadline:
                for _ in range(1000):
                    flip()
        finally:
            os._exit(0)
    os.close(tell)
    try:
        os.read(told, 1)
        yield
    finally:
        os.close(told)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
