"""A scripted far end of a hypercall connection.

What the real hypervisor answers is tested with the real one (``hv.py``).  This is for answers that
it never gives while all is well, and for parts that need a port and nothing else.
"""

import socket
from threading import Thread
from typing import Any, NoReturn

import msgpack

from hvsim.domain.hypercall import Hypercalls
from hvsim.wire import rights


class Gone(Exception):
    """What the client raises here instead of ending the process."""


def _gone() -> NoReturn:
    raise Gone


class FarEnd:
    """Answers hypercalls one after the other, as it was told to, in a thread each.

    Attributes:
        client: the near end, a real ``Hypercalls``.
        requests: what the client asked so far.
    """

    def __init__(self) -> None:
        self.socket, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.client = Hypercalls(near.detach(), _gone)
        self.requests: list[Any] = []
        self._threads: list[Thread] = []

    def answer(self, reply: list[Any], fds: list[int] | None = None) -> None:
        """Answer the next call with *reply*, and with copies of *fds*."""

        def serve() -> None:
            self.requests.append(msgpack.unpackb(self.socket.recv(1 << 17)))
            rights.send(self.socket, [msgpack.packb(reply)], fds or [])

        self._start(serve)

    def hang_up(self) -> None:
        """Close the connection instead of answering the next call."""

        def serve() -> None:
            self.socket.recv(1 << 17)
            self.socket.close()

        self._start(serve)

    def _start(self, serve: Any) -> None:
        if self._threads:
            self._threads[-1].join()
        self._threads.append(Thread(target=serve))
        self._threads[-1].start()

    def close(self) -> None:
        """End the threads and both ends."""
        for thread in self._threads:
            thread.join()
        self.socket.close()
        self.client.close()
