"""The client guest of the three tiers: one HTTP connection, one ``POST /commit`` after the other.

The number that comes back is told to the world as the database's own guest would tell it
(``commit <n>``): whoever reads that line may rely on batch n. The connection is opened once; that
it is lost is an event worth a line, counted at the end.

Options: web=web-frontend (a guest of the lab, or an address); port=80; pause=0.02 seconds between
an answer and the next request; requests=0 (0: until the shutdown request).
"""

from __future__ import annotations

from domains.guests.ledger import ACKNOWLEDGEMENT
from domains.guests.options import option, words
from domains.guests.sockets import Connection, Dialer, address_of
from domains.guests.tiers import WEB_PORT, Message, Messages, request
from hvsim.domain import Domain
from hvsim.errors import BrokenByPeer


class Client:
    """Asks and counts.

    Attributes:
        answered: requests that were answered with a commit.
        lost: connections that were lost.
        connection: the one that there is.
        dialer: makes the next one.
    """

    def __init__(self, dom: Domain, address: tuple[str, int], pause: float, wanted: int) -> None:
        self.answered = 0
        self.lost = 0
        self._dom = dom
        self._host = address[0]
        self._pause = pause
        self._wanted = wanted
        self.connection: Connection | None = None
        self.dialer = Dialer(dom, address, self._connected)
        self.dialer.start()

    @property
    def done(self) -> bool:
        """Whether all that was wanted is answered."""
        return bool(self._wanted) and self.answered >= self._wanted

    def _connected(self, connection: Connection) -> None:
        self._dom.log(f"client: connected to {connection.peer}")
        messages = Messages()

        def received(piece: bytes) -> None:
            try:
                for message in messages.feed(piece):
                    self._answer(message)
            except BrokenByPeer as error:
                connection.close()
                self._gone(str(error))

        connection.received = received
        connection.closed = self._gone
        self.connection = connection
        self._ask()

    def _ask(self) -> None:
        if self.connection is not None and not self.done:
            self.connection.send(request("POST", "/commit", self._host))

    def _answer(self, message: Message) -> None:
        status = message.first[1]
        if status == "200":
            number = message.body.strip()
            if not number.isdigit():
                raise BrokenByPeer(f"{number[:40]!r} is no number of a commit")
            self.answered += 1
            self._dom.log(f"{ACKNOWLEDGEMENT}{int(number)}")
        else:
            self._dom.log(f"client: {' '.join(message.first)}")
        self._dom.vcpu.call_later(self._pause, self._ask)

    def _gone(self, why: str) -> None:
        self.lost += 1
        self.connection = None
        self._dom.log(f"client: connection lost: {why}")
        self.dialer.start()


def main(dom: Domain) -> None:
    """Ask until the shutdown request, or until enough is answered."""
    found = words(dom)
    address = address_of(dom, option(found, "web", "web-frontend"))
    client = Client(
        dom,
        (address, option(found, "port", WEB_PORT)),
        option(found, "pause", 0.02),
        option(found, "requests", 0),
    )
    dom.ready(f"client of {address}")
    while dom.shutdown_requested is None and not client.done:
        dom.vcpu.block()
        dom.vcpu.dispatch()
    dom.log(f"client: {client.answered} requests answered, {client.lost} connections lost")
