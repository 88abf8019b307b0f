"""A guest without a network stack: it sends frames and answers those of others, and says on the
console what came back.

Its interface has rings and a program, and no Linux in between, so it can be in lockstep. It wants
`frames = "own"` in its args, and so does the driver domain that serves it.

    ping 17 after 0.000412 (2 lost)

A frame is a question or its answer: a number, and bytes that follow from it, with a checksum, so
that one that was damaged on its way counts as lost. Who asks first asks everybody; then whoever
has answered, until an answer is lost.

Options, in the args of the guest or on its command line:

    rate=0         questions a second; 0: it only answers
    size=60        bytes of a frame
    patience=0.5   seconds until an answer counts as lost
    vif=0          the interface
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Final, NamedTuple, Protocol

from domains.guests.options import option, words
from hvsim.domain import Domain
from hvsim.domain.loading import ProgramError
from hvsim.drivers.net.frames import own_frames
from hvsim.drivers.net.front import NetFront
from hvsim.drivers.net.protocol import ETH_HLEN
from hvsim.errors import TimedOut
from hvsim.names import mac

EVERYBODY: Final = b"\xff" * 6
TYPE: Final = b"\x88\xb5"
"""Of frames for experiments (IEEE 802)."""
ASK: Final = 1
ANSWER: Final = 2
_HEAD: Final = struct.Struct(">BII")
"""What it is, its number, the checksum of what comes after."""
LEAST: Final = 60


class Ping(NamedTuple):
    """What a frame says."""

    to: bytes
    sender: bytes
    what: int
    number: int
    size: int = LEAST

    def frame(self) -> bytes:
        """As it goes over the wire."""
        rest = _rest(self.number, max(LEAST, self.size) - ETH_HLEN - _HEAD.size)
        head = _HEAD.pack(self.what, self.number, zlib.crc32(rest))
        return self.to + self.sender + TYPE + head + rest


def ping(frame: bytes) -> Ping | None:
    """What a frame says; None when it is another's, or damaged."""
    if len(frame) < LEAST or frame[12:14] != TYPE:
        return None
    what, number, checksum = _HEAD.unpack_from(frame, ETH_HLEN)
    rest = frame[ETH_HLEN + _HEAD.size :]
    if zlib.crc32(rest) != checksum or rest != _rest(number, len(rest)):
        return None
    return Ping(frame[:6], frame[6:12], what, number, len(frame))


def _rest(number: int, size: int) -> bytes:
    return bytes((number + place) & 0xFF for place in range(size))


class Nic(Protocol):
    """What is used of netfront's interface here."""

    @property
    def received(self) -> int:
        """Frames that wait for `receive`."""

    def send(self, frame: bytes) -> None:
        """Raises: TimedOut."""

    def receive(self) -> bytes:
        """The next frame."""


class Pinger:
    """The program, without its domain.

    Args:
        own: its address.

    Attributes:
        answered: numbers of questions that were answered.
        lost: questions that were not, until now.
    """

    def __init__(self, nic: Nic, own: bytes, size: int) -> None:
        self.answered = 0
        self.lost = 0
        self._nic = nic
        self._own = own
        self._size = size
        self._peer = EVERYBODY
        self._asked = 0

    def ask(self) -> int:
        """A question more; its number."""
        self._asked += 1
        self._send(Ping(self._peer, self._own, ASK, self._asked, self._size))
        return self._asked

    def hear(self) -> None:
        """Everything that has come: questions are answered."""
        while self._nic.received:
            said = ping(self._nic.receive())
            if said is None or said.to not in (self._own, EVERYBODY):
                continue
            if said.what == ASK:
                self._send(said._replace(to=said.sender, sender=self._own, what=ANSWER))
            elif said.what == ANSWER and said.number == self._asked:
                self.answered, self._peer = said.number, said.sender

    def give_up(self) -> None:
        """The last question counts as lost; the next is for everybody again."""
        self.lost += 1
        self._peer = EVERYBODY

    def _send(self, said: Ping) -> None:
        try:
            self._nic.send(said.frame())
        except TimedOut:  # nobody serves the interface: as if the wire had lost it
            return


def main(dom: Domain) -> None:
    """Ask and answer until the shutdown request."""
    if not own_frames(dom.args):
        raise ProgramError('it passes frames itself: say frames = "own" in the args of the domain')
    found = words(dom)
    rate, patience = option(found, "rate", 0.0), option(found, "patience", 0.5)
    vif = option(found, "vif", 0)
    nic = NetFront.open(dom, vif)
    own = mac.bytes_of(dom.store.read(f"device/vif/{vif}/mac"))
    pinger = Pinger(nic, own, option(found, "size", LEAST))
    now = dom.vcpu.now

    def over() -> bool:
        return dom.shutdown_requested is not None or nic.dead is not None

    def listen(until: float, answered: int = 0) -> None:
        """Hear what comes, until that moment, that answer, or the end."""
        while not over() and (not answered or pinger.answered != answered):
            left = until - now()
            if left <= 0:
                return
            try:
                dom.wait(
                    lambda: nic.received > 0 or over(),
                    left if left < math.inf else None,
                    "a frame",
                )
            except TimedOut:
                return
            pinger.hear()

    dom.ready("ping")
    while not over():
        if rate <= 0:
            listen(math.inf)
            continue
        begun = now()
        number = pinger.ask()
        listen(begun + patience, number)
        if pinger.answered == number:
            lost = f" ({pinger.lost} lost)" if pinger.lost else ""
            dom.log(f"ping {number} after {now() - begun:.6f}{lost}")
        elif not over():
            pinger.give_up()
        listen(begun + 1.0 / rate)
