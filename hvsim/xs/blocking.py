"""The blocking client of the tools' Unix socket.

::

    with connect("/run/xenstored/socket") as store:
        store.read("/local/domain/0/name")

Watch callbacks run inside :meth:`SocketStore.poll`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from hvsim.abi import errno as xen_errno
from hvsim.wire.closing import Closing
from hvsim.xs.client import StoreClient
from hvsim.xs.errors import StoreDisconnected
from hvsim.xs.requests import Request
from hvsim.xs.sockets import default_socket, open_socket
from hvsim.xs.waits import MACHINE, Waits
from hvsim.xs.wire import Conversation, Reply, TooLong

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that one exchange may take."""
PATIENCE: Final = 5.0
"""Seconds that tools of a running lab wait for a store that is being started again."""
_RETRY: Final = 0.01
SILENCE_STEP: Final = 0.05
"""Seconds without an answer after which somebody is asked why there is none."""
_RECV: Final = 65536


class SocketTransport:
    """Requests and replies over a Unix socket; waits at most *timeout* seconds.

    Args:
        path: the socket.
        label: how this client is called in the store's trace, e.g. ``XL``; *lab* keeps the
            abstract names of two labs apart.
        waits: its clock, and how it waits.

    Attributes:
        on_silence: asked again and again while an answer does not come, with the seconds that have
            passed: why none will come, in a sentence that ends the wait; "" while one may.
    """

    def __init__(
        self,
        path: str,
        label: str = "",
        lab: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        waits: Waits = MACHINE,
    ) -> None:
        self.on_event: Callable[[bytes], None] = _ignore_event
        self.on_dispatch: Callable[[], bool] = _ignore_dispatch
        self.timeout = timeout
        self.on_silence: Callable[[float], str] = _ask_nobody
        self.waits = waits
        self.closed = False
        self._where = (path, label, lab)
        self.open()

    def open(self) -> None:
        """Connect.  Raises OSError."""
        self._socket = open_socket(*self._where, blocking=False)
        self._conversation = Conversation()

    def fileno(self) -> int:
        """The socket's descriptor, to wait for events with."""
        return self._socket.fileno()

    def hang_up(self) -> None:
        """Close the socket; :meth:`open` makes another one."""
        self._socket.close()

    def close(self) -> None:
        """Close the socket for good.  Idempotent."""
        self.closed = True
        self._socket.close()
        self.waits.close()

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        """See :class:`~hvsim.xs.client.Transport`."""
        exchange = self._conversation.ask(batch)
        out = self._conversation.out
        deadline = 0.0
        try:
            while not exchange.done:
                if out:
                    self._send(exchange.next)
                if self._receive(exchange.next):
                    continue
                now = self.waits.now()
                deadline = deadline or now + self.timeout
                if now >= deadline:
                    raise TimeoutError(f"waited {self.timeout:g} s for {exchange.next.awaited}")
                step = min(deadline - now, SILENCE_STEP)
                if not self.waits.ready(self.fileno(), bool(out), step) and (
                    why := self.on_silence(self.waits.now() - deadline + self.timeout)
                ):
                    raise TimeoutError(f"{exchange.next.awaited} does not come: {why}")
        finally:
            if not exchange.done:
                self._conversation.give_up()
        return exchange.replies

    def wait(self, timeout: float | None) -> bool:
        """Wait for events, at most *timeout* seconds; False when none came."""
        if not self.waits.ready(self.fileno(), False, timeout):
            return False
        while self._receive(None):
            pass
        return True

    def _send(self, current: Request[object]) -> None:
        out = self._conversation.out
        try:
            sent = self._socket.send(out)
        except BlockingIOError:
            return
        except OSError:
            raise _gone(current) from None
        del out[:sent]

    def _receive(self, current: Request[object] | None) -> bool:
        try:
            data = self._socket.recv(_RECV)
            events = self._conversation.hear(data)
        except BlockingIOError:
            return False
        except (OSError, TooLong):
            raise _gone(current) from None
        if not data:
            raise _gone(current)
        for payload in events:
            self.on_event(payload)
        return True


class SocketStore(StoreClient, Closing):
    """A :class:`StoreClient` over the tools' socket; a context manager."""

    kind: ClassVar[type[SocketTransport]] = SocketTransport
    transport: SocketTransport

    def __init__(
        self,
        path: str,
        label: str = "",
        lab: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        waits: Waits = MACHINE,
    ) -> None:
        """Connect.  Raises OSError."""
        super().__init__(self.kind(path, label, lab, timeout, waits))
        self.connected()

    def connected(self) -> None:
        """There is a connection; for who has more to do with it."""

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Run the callbacks of events that came, waiting at most *timeout* seconds (None: no
        limit) for the first.  Returns whether there was an event.  Raises StoreDisconnected."""
        if not self.pending_events:
            self.transport.wait(timeout)
        some = bool(self.pending_events)
        self.dispatch_events()
        return some


def connect(
    path: str = "",
    label: str = "",
    lab: str = "",
    timeout: float = DEFAULT_TIMEOUT,
    *,
    patience: float = 0.0,
    waits: Waits = MACHINE,
) -> SocketStore:
    """Connect to the store's socket (*path*, or where Xen's tools look).

    Where nobody listens, look again for *patience* seconds: whoever knows that the lab runs may
    have come between the store's death and its return.

    Raises: OSError when nobody listens there or access is denied.
    """
    deadline = waits.now() + patience
    while True:
        try:
            return SocketStore(path or default_socket(), label, lab, timeout, waits)
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            if waits.now() >= deadline:
                raise
            waits.pause(_RETRY)


def _gone(current: Request[object] | None) -> StoreDisconnected:
    name, path = (current.name, current.path) if current is not None else ("WATCH_EVENT", "")
    return StoreDisconnected(xen_errno.EIO, name, path)


def _ignore_event(_payload: bytes) -> None:
    return None


def _ignore_dispatch() -> bool:
    return False


def _ask_nobody(_seconds: float) -> str:
    return ""
