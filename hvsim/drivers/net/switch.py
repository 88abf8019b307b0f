"""A switch of the backend's own: frames pass between its vifs inside this process.

In the place of `bridges.py` where no network of Linux' may be in between: in lockstep, where all
that happens has its place in the order of the run.  To netback a `Port` is a link (`link.py`) that
takes and hands over its frames itself, without a descriptor.

It does what a Linux bridge without STP does for guests: it learns who is where, floods what it does
not know, keeps link-local frames to itself but for BPDUs, and loses what comes from nobody's
address, is too long, or is for who does not listen.  It has no address of its own and changes no
frame: what a guest leaves to others (checksums, segmentation) reaches guests that take it, and is
lost to the others.  Source: Linux, net/bridge/br_input.c (br_handle_frame).

Everybody behind it is hostile: it knows `ADDRESSES` at most, and `QUEUE` frames wait at a port.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from hvsim.drivers.net.bridges import DEFAULT_BRIDGE
from hvsim.drivers.net.hotplug import longest_frame
from hvsim.drivers.net.link import QUEUE
from hvsim.drivers.net.listener import Ear
from hvsim.drivers.net.offload import F_NEEDS_CSUM, GSO_TCPV4, VNET
from hvsim.drivers.net.protocol import ETH_HLEN

if TYPE_CHECKING:
    from hvsim.domain.vcpu import VCPU
    from hvsim.drivers.net.protocol import VifInfo

ADDRESSES: Final = 1024
"""That a bridge knows; who has been silent for longest is forgotten for a new one."""
AGEING: Final = 300.0
"""Seconds after which somebody silent is forgotten (IEEE 802.1D)."""
MTU: Final = 1500
"""Of a vif that does not say."""
_NO_DESCRIPTOR: Final = 1 << 30
_TO: Final = slice(VNET.size, VNET.size + 6)
_FROM: Final = slice(VNET.size + 6, VNET.size + 12)
_LINK_LOCAL: Final = bytes.fromhex("0180c20000")
"""How addresses begin that no bridge passes on, with a last byte below 16 (IEEE 802.1D); but with 0
it is that of BPDUs, by which somebody's STP finds a loop through us."""
_NOBODY: Final = bytes(6)


class Switch:
    """The bridges of one domain, by their names; made when a vif names one."""

    def __init__(self, vcpu: VCPU) -> None:
        self._vcpu = vcpu
        self._bridges: dict[str, _Bridge] = {}

    def make_link(self, vif: VifInfo) -> Port:
        """The port of a vif, without carrier."""
        name = vif.bridge or DEFAULT_BRIDGE
        bridge = self._bridges.setdefault(name, _Bridge(self._vcpu.now))
        return Port(self._vcpu, bridge, vif.wanted_name or vif.name, vif.mtu or MTU)


class Port:
    """The link of one vif.

    Attributes:
        fd: no descriptor, but below 0 when it is closed.
        lost: frames for the guest that it did not get.
    """

    tagged = None

    def __init__(self, vcpu: VCPU, bridge: _Bridge, name: str, mtu: int) -> None:
        self.fd = _NO_DESCRIPTOR
        self.name = name
        self.mtu = mtu
        self.lost = 0
        self._vcpu = vcpu
        self._bridge = bridge
        self._carrier = False
        self._checksum = self._tso4 = self._tso6 = True
        self._frames: deque[bytes] = deque()
        self._ear: Ear | None = None
        bridge.ports.append(self)

    def __repr__(self) -> str:
        return f"<Port {self.name} {'up' if self._carrier else 'down'}>"

    def close(self) -> None:
        """Leave the bridge.  Idempotent."""
        if self.fd >= 0:
            self.set_carrier(False)
            self.fd = -1
            self._bridge.ports.remove(self)

    def set_carrier(self, on: bool) -> None:
        """Whether somebody is at the other end: frames pass."""
        self._carrier = on
        if not on:
            self._frames.clear()
            self._bridge.forget(self)

    def set_offloads(self, *, checksum: bool, tso4: bool, tso6: bool) -> None:
        """What the guest takes unfinished."""
        self._checksum, self._tso4, self._tso6 = checksum, checksum and tso4, checksum and tso6

    def writev(self, _fd: int, parts: Sequence[bytes | memoryview]) -> int:
        """A frame of the guest, behind its virtio_net_hdr.  Raises: OSError(ENETDOWN)."""
        if not self._carrier:
            raise OSError(errno.ENETDOWN, f"{self.name} is down")
        frame = b"".join(parts)  # a copy: the guest may change its pages
        self._bridge.take(self, frame)
        return len(frame)

    def read(self) -> tuple[bytes, bytes] | None:
        """(virtio_net_hdr, frame) for the guest; None when there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        return frame[: VNET.size], frame[VNET.size :]

    def listener(self, readable: Callable[[], None]) -> Ear:
        """What calls *readable* while it listens, and `read` has frames; one at a time."""
        self._ear = Ear(self._vcpu, self._frames, readable)
        return self._ear

    def put(self, frame: bytes) -> None:
        """A frame for the guest, which is lost when it cannot have it."""
        if not (self._carrier and len(self._frames) < QUEUE and self._fits(frame)):
            self.lost += 1
            return
        self._frames.append(frame)
        if self._ear is not None:
            self._ear.tell()

    def _fits(self, frame: bytes) -> bool:
        flags, gso, *_ = VNET.unpack(frame[: VNET.size])
        if flags & F_NEEDS_CSUM and not self._checksum:
            return False
        if gso:
            return self._tso4 if gso == GSO_TCPV4 else self._tso6
        return len(frame) - VNET.size <= longest_frame(self)


class _Bridge:
    """Ports that hear each other."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.ports: list[Port] = []
        self._now = now
        self._known: OrderedDict[bytes, tuple[Port, float]] = OrderedDict()

    def take(self, source: Port, frame: bytes) -> None:
        """A frame that has come in at *source*: to whom it is for."""
        to, sender = frame[_TO], frame[_FROM]
        if len(frame) < VNET.size + ETH_HLEN or _is_link_local(to):
            return
        if sender == _NOBODY or _is_group(sender):
            return
        self._known.pop(sender, None)
        self._known[sender] = source, self._now()
        if len(self._known) > ADDRESSES:
            self._known.popitem(last=False)
        where = None if _is_group(to) else self._where(to)
        for port in self.ports if where is None else [where]:
            if port is not source:
                port.put(frame)

    def forget(self, port: Port) -> None:
        """Who was behind that port."""
        for address in [address for address, (where, _) in self._known.items() if where is port]:
            del self._known[address]

    def _where(self, address: bytes) -> Port | None:
        port, seen = self._known.get(address, (None, 0.0))
        return port if self._now() - seen < AGEING else None


def _is_group(address: bytes) -> bool:
    return bool(address[0] & 1)


def _is_link_local(address: bytes) -> bool:
    return address.startswith(_LINK_LOCAL) and 0 < address[-1] < 16
