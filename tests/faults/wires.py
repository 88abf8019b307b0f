"""Guests on one bridge, a domain that serves them, and who breaks the wires between.

The test is the bridge: what comes out of one link, `switch` puts into all others.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from hvsim.domain.domain import Domain
from hvsim.drivers.net.back import NetBack
from hvsim.drivers.net.front import NetFront
from hvsim.drivers.net.interface import Interface
from hvsim.names.mac import bytes_of as mac_bytes
from tests.drivers.netrig import NetRig, Wire, mac_of
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor

KIND = b"\x88\xb5"


class Guest:
    """One, with its interface.

    Attributes:
        got: numbers of the frames that it has got.
        raw: those frames.
    """

    def __init__(self, name: str, domain: Domain, nic: Interface, wire: Wire) -> None:
        self.name = name
        self.domain = domain
        self.nic = nic
        self.wire = wire
        self.mac = mac_bytes(mac_of(domain))
        self.got: list[int] = []
        self.raw: list[bytes] = []

    def send(self, to: bytes, number: int, size: int = 60) -> None:
        """A frame with a number in it."""
        self.nic.send(made(to, self.mac, number, size))

    def take(self) -> None:
        """What has come."""
        while self.nic.received:
            self.raw.append(self.nic.receive())
            self.got.append(number_of(self.raw[-1]))


def made(to: bytes, source: bytes, number: int, size: int = 60) -> bytes:
    return (to + source + KIND + struct.pack(">I", number)).ljust(size, b"\0")


def number_of(frame: bytes) -> int:
    found: int = struct.unpack_from(">I", frame, 14)[0]
    return found


class Net(NetRig):
    """Guests named a, b, c; *back* serves them.

    Attributes:
        breaker: writes rules.
    """

    def __init__(self, hv: Hypervisor, names: str = "a") -> None:
        super().__init__(hv)
        self.back = self.domain()
        NetBack.register(self.back, lambda info: self.wire(info.name))
        self.guests = [self._guest(name) for name in names]
        first, *others = self.guests
        self.breaker = Breaker(hv, first.domain, self.back, ("vif", 0, "eth0"))
        self.breaker.domains[0]["name"] = first.name
        for guest in others:
            self.breaker.enter(guest.name, guest.domain, self.back, ("vif", 0, "eth0"))
        macs = {guest.domain.domid: mac_of(guest.domain) for guest in self.guests}
        for row in self.breaker.domains:
            for device in row["devices"]:
                device["mac"] = macs[row["domid"]]

    def _guest(self, name: str) -> Guest:
        domain = self.domain()
        found = NetFront.register(domain)
        self.attach(self.back, domain)
        self.run(lambda: 0 in found and found[0].connected, "both halves Connected")
        self.run(lambda: self.wire_of(domain).up, "its link has a carrier")
        return Guest(name, domain, found[0], self.wire_of(domain))

    def add(self, target: str, *words: str) -> int:
        """A rule, in place."""
        number = self.breaker.add(target, *words)
        self.rest()
        [one] = [one for one in self.breaker.standing() if one.rule.number == number]
        assert not one.trouble, one.trouble
        return number

    def remove(self, number: int) -> None:
        """No more."""
        self.breaker.remove(number)
        self.rest()

    def switch(self, turns: int = 6) -> None:
        """Everybody's turns, and frames from each link to the others, where there are any."""
        for _ in range(turns):
            self.rest(4)
            for guest in self.guests if len(self.guests) > 1 else ():
                for vnet, frame in guest.wire.receive():
                    for other in self.guests:
                        if other is not guest:
                            assert other.wire.send(frame, vnet)
            for guest in self.guests:
                guest.take()

    def until(self, guest: Guest, count: int) -> list[int]:
        """The numbers of what a guest has got, once it is so many frames."""

        def there() -> bool:
            self.switch(1)
            return len(guest.got) >= count

        self.run(there, f"{count} frames for {guest.name}")
        found, guest.got = guest.got, []
        return found


@contextlib.contextmanager
def a_net(hv: Hypervisor, names: str = "a") -> Iterator[Net]:
    """It is gone afterwards, and its rules."""
    net = Net(hv, names)
    try:
        yield net
    finally:
        net.breaker.clear()
        net.close()
