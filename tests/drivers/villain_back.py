"""A hostile backend of a vif: raw answers to a guest whose second interface has an honest one.

After each attack (test_net_attacks_back_*.py, by the shapes of the published ones) that one works
both ways, and the frontend has said what it refused: an error counted by its reason, or its device
given up with an error node.

Where a docstring of a test says what turns it red, that was tried; those about shared memory that
changes and about pools were not: there is no such pool, and the ring copies
(tests/domain/test_ring.py).
"""

from __future__ import annotations

import struct

from hvsim.domain.domain import Domain
from hvsim.drivers.net.front import NetFront
from tests.drivers.netrig import NetRig, Wire
from tests.drivers.rawnet import RawBack
from tests.support.hv import Hypervisor

FRAME = bytes.fromhex("00163e000002 00163e000001 0800") + bytes(range(46))
FEATURES = {
    "feature-sg": "1",
    "feature-gso-tcpv4": "1",
    "feature-gso-tcpv6": "1",
    "feature-rx-copy": "1",
    "feature-split-event-channels": "1",
    "multi-queue-max-queues": "4",
    "feature-persistent": "1",
}


class Attacked(NetRig):
    """A guest with two interfaces: 0 is served by the villain, 1 by an honest backend.

    Attributes:
        guest: whose frontends are attacked; `nics` those.
        raw, good: the backends of 0 and 1.
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.guest = self.domain()
        self.nics = NetFront.register(self.guest, lambda info: self.wire(str(info.name)))
        self.honest = self.domain()
        self.good = self.connect(self.honest, 1)
        self.villain = self.domain()

    def offer(self, back: Domain, index: int, **features: str) -> dict[str, str]:
        """The backend's part until the frontend has published; what that wrote."""
        self.attach(back, self.guest, index)
        path = self.back_path(back, self.guest, index)
        keys = {**FEATURES, **{key.replace("_", "-"): value for key, value in features.items()}}
        for key, value in keys.items():
            self.write(f"{path}/{key}", value)
        self.write(f"{path}/state", "2")
        front = self.front_path(self.guest, index)
        self.run(lambda: self.state(front) == "4", "the frontend's rings")
        prefix = f"{front}/"
        return {
            name.removeprefix(prefix): value.decode()
            for name, value in self.store.nodes.items()
            if name.startswith(prefix)
        }

    def connect(self, back: Domain, index: int, **features: str) -> RawBack:
        """A backend that takes the rings."""
        keys = self.offer(back, index, **features)
        raw = RawBack(back, self.guest.domid, keys)
        self.closing.append(raw.close)
        self.write(f"{self.back_path(back, self.guest, index)}/state", "4")
        self.run(lambda: self.nics[index].connected, "Connected")
        raw.offered()
        return raw

    def enter(self, **features: str) -> RawBack:
        """The villain connects, politely."""
        self.raw = self.connect(self.villain, 0, **features)
        return self.raw

    @property
    def stack(self) -> Wire:
        """The guest's stack behind the attacked interface."""
        return next(wire for wire in reversed(self.wires) if wire.name == "eth0")

    @property
    def front(self) -> str:
        """The attacked frontend's directory."""
        return self.front_path(self.guest)

    def figures(self) -> dict[str, int]:
        """What the attacked interface counted."""
        return dict(self.nics[0].statistics())

    def errors_counted(self) -> int:
        """Frames that the backend got wrong, and answers."""
        return sum(number for name, number in self.figures().items() if "_error_" in name)

    def served(self) -> None:
        """The other interface works both ways, still."""
        wire = next(wire for wire in self.wires if wire.name == "eth1")
        wire.receive()
        assert wire.send(FRAME)
        self.run(lambda: self.good.sent_frames() == [FRAME], "a frame of the other interface")
        self.good.ring_bell()
        self.good.deliver(FRAME[::-1])
        self.run(lambda: FRAME[::-1] in wire.frames(), "a frame for the other interface")

    def works(self) -> None:
        """The attacked interface itself goes on, once the backend behaves."""
        self.stack.receive()
        self.raw.deliver(FRAME)
        self.run(lambda: FRAME in self.stack.frames(), "a frame")
        self.stack.send(FRAME)
        self.run(lambda: FRAME in self.raw.sent_frames(), "a frame that is sent")
        self.raw.ring_bell()

    def respond(self, *responses: bytes) -> None:
        """Raw RX responses, which use up as many requests; there must be as many."""

        def enough() -> bool:
            self.raw.offered()
            return len(self.raw.requests) >= len(responses)

        self.run(enough, f"{len(responses)} requests; {len(self.raw.requests)} are there", 400)
        del self.raw.requests[: len(responses)]
        self.raw.respond(responses)

    def refused(self) -> None:
        """Counted as the backend's error, or the device given up; no frame reached the stack."""
        self.run(
            lambda: self.errors_counted() > 0 or self.state(self.front) in ("5", "6"), "a refusal"
        )
        assert self.stack.frames() == []

    def given_up(self) -> None:
        """The device was closed with an error node."""
        self.run(lambda: self.state(self.front) in ("5", "6"), "the device given up")
        assert self.errors(self.guest)


def sent(net: Attacked) -> tuple[int, int]:
    """The guest sends one frame; (id, reference) of its request, unanswered."""
    net.stack.send(FRAME)
    slots: list[bytes] = []

    def there() -> bool:
        slots.extend(net.raw.sent())
        return bool(slots)

    net.run(there, "a request")
    ref, _, _, ident, _ = struct.unpack("<IHHHH", slots[0])
    return ident, ref
