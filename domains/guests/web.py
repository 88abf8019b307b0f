"""The web guest of the three tiers: HTTP in front, the database guest behind.

``POST /commit`` asks the database for a commit and answers ``200`` with its number when the
database has acknowledged it; ``GET /`` says how many there were; ``GET /bytes/<n>`` answers with a
body of so many bytes, for downloads of any length. Requests wait while the database
is not there; nothing is asked twice, since nobody here knows whether the first time was in vain.

Options: database=db-primary (a guest of the lab, or an address); port=80; database_port=5432.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from domains.guests.options import option, words
from domains.guests.sockets import Connection, Dialer, Listener, address_of
from domains.guests.tiers import (
    COMMIT,
    DATABASE_PORT,
    DOWNLOAD_MAX,
    WEB_PORT,
    Lines,
    Message,
    Messages,
    body,
    committed,
    head,
    response,
)
from hvsim.domain import Domain
from hvsim.errors import BrokenByPeer

WAITING_MAX: Final = 256
"""Requests that may wait for the database; more are answered with 503."""


class Web:
    """Front and back of the web guest.

    Attributes:
        database: the connection to it, while there is one.
        dialer: makes the next one.
    """

    def __init__(self, dom: Domain, database: tuple[str, int]) -> None:
        self._dom = dom
        self._waiting: deque[Connection] = deque()
        self._asked: deque[Connection] = deque()
        self._commits = 0
        self.database: Connection | None = None
        self.dialer = Dialer(dom, database, self._database_is_there)
        self.dialer.start()

    # -- behind ----------------------------------------------------------------------------

    def _database_is_there(self, connection: Connection) -> None:
        self._dom.log(f"web: connected to the database at {connection.peer}")
        lines = Lines()

        def received(piece: bytes) -> None:
            try:
                for line in lines.feed(piece):
                    self._acknowledged(committed(line))
            except BrokenByPeer as error:
                connection.close()
                self._database_is_gone(str(error))

        connection.received = received
        connection.closed = self._database_is_gone
        self.database = connection
        while self._waiting:
            self._ask(connection, self._waiting.popleft())

    def _database_is_gone(self, why: str) -> None:
        self._dom.log(f"web: the database is gone: {why}")
        self.database = None
        while self._asked:
            self._asked.popleft().send(response("502 Bad Gateway", f"{why}\n"))
        self.dialer.start()

    def _ask(self, database: Connection, client: Connection) -> None:
        self._asked.append(client)
        database.send(COMMIT)

    def _acknowledged(self, batch: int) -> None:
        if not self._asked:
            raise BrokenByPeer("the database acknowledges what nobody asked for")
        self._commits += 1
        self._asked.popleft().send(response("200 OK", f"{batch}\n"))

    # -- in front --------------------------------------------------------------------------

    def accept(self, connection: Connection) -> None:
        """A browser, say."""
        messages = Messages()

        def received(piece: bytes) -> None:
            try:
                for message in messages.feed(piece):
                    self._request(connection, message)
            except BrokenByPeer as error:
                connection.send(response("400 Bad Request", f"{error}\n"))
                connection.close()

        connection.received = received
        connection.closed = lambda why: self._dom.log(f"web: {connection.peer} left: {why}")

    def _request(self, connection: Connection, message: Message) -> None:
        method, path, _ = message.first
        if (method, path) == ("GET", "/"):
            there = "is there" if self.database is not None else "is not there"
            text = f"{self._commits} commits; the database {there}\n"
            connection.send(response("200 OK", text))
        elif method == "GET" and path.startswith("/bytes/"):
            self._download(connection, path.removeprefix("/bytes/"))
        elif (method, path) != ("POST", "/commit"):
            connection.send(
                response("404 Not Found", "there are GET /, GET /bytes/<n>, POST /commit\n")
            )
        elif len(self._waiting) + len(self._asked) >= WAITING_MAX:
            connection.send(response("503 Service Unavailable", "too many wait\n"))
        elif self.database is None:
            self._waiting.append(connection)
        else:
            self._ask(self.database, connection)

    def _download(self, connection: Connection, asked: str) -> None:
        if not asked.isdecimal() or int(asked) > DOWNLOAD_MAX:
            connection.send(response("400 Bad Request", f"{asked[:40]!r} bytes\n"))
        elif connection.streaming:
            connection.send(response("503 Service Unavailable", "one download at a time\n"))
        else:
            connection.send(head("200 OK", int(asked), "application/octet-stream"))
            connection.stream(body(int(asked)))


def main(dom: Domain) -> None:
    """Serve until the shutdown request."""
    found = words(dom)
    database = address_of(dom, option(found, "database", "db-primary"))
    web = Web(dom, (database, option(found, "database_port", DATABASE_PORT)))
    listener = Listener(dom, option(found, "port", WEB_PORT), web.accept)
    dom.ready(f"web on port {listener.port}")
    dom.serve()
    listener.close()
