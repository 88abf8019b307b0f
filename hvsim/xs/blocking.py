"""The blocking client of the tools' Unix socket.

::

    with connect("/run/xenstored/socket") as store:
        store.read("/local/domain/0/name")

Watch callbacks run inside :meth:`SocketStore.poll`.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs.client import Reply, StoreClient
from hvsim.xs.requests import Request, StoreDisconnected, StoreError
from hvsim.xs.sockets import default_socket, open_socket

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that one exchange may take."""
PATIENCE: Final = 5.0
"""Seconds that tools of a running lab wait for a store that is being started again."""
_RETRY: Final = 0.01
SILENCE_STEP: Final = 0.05
"""Seconds without an answer after which somebody is asked why there is none."""

_HEADER: Final = xs_wire.XSD_SOCKMSG.struct
_HEADER_SIZE: Final = _HEADER.size
_RECV: Final = 65536
_ID_MASK: Final = 0x7FFFFFFF


class SocketTransport:
    """Requests and replies over a Unix socket; waits in poll(2), at most *timeout* seconds.

    Args:
        path: the socket.
        label: how this client is called in the store's trace, e.g. ``XL``; *lab* keeps the
            abstract names of two labs apart.

    Attributes:
        on_silence: asked again and again while an answer does not come, with the seconds that have
            passed: why none will come, in a sentence that ends the wait; "" while one may.
    """

    def __init__(
        self, path: str, label: str = "", lab: str = "", timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.on_event: Callable[[bytes], None] = _ignore_event
        self.on_dispatch: Callable[[], bool] = _ignore_dispatch
        self.timeout = timeout
        self.on_silence: Callable[[float], str] = _ask_nobody
        self._where = (path, label, lab)
        self._next_id = 0
        self._dead = False
        self._open()

    def _open(self) -> None:
        """Connect.  Raises OSError."""
        self._socket = open_socket(*self._where, blocking=False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._in = bytearray()

    def fileno(self) -> int:
        """The socket's descriptor, to wait for events with."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket.  Idempotent."""
        self._dead = True
        self._socket.close()

    def exchange(self, batch: Sequence[Request]) -> list[Reply]:
        """See :class:`~hvsim.xs.client.Transport`."""
        out = bytearray()
        waiting: deque[int] = deque()
        for request in batch:
            if len(request.payload) > xs_wire.XENSTORE_PAYLOAD_MAX:
                # As libxenstore: the daemon would end the connection.
                raise StoreError(xen_errno.E2BIG, request.name, request.path)
            self._next_id = (self._next_id + 1) & _ID_MASK
            waiting.append(self._next_id)
            out += _HEADER.pack(request.op, self._next_id, request.tx, len(request.payload))
            out += request.payload
        replies: list[Reply] = []
        deadline = 0.0
        while len(replies) < len(batch):
            current = batch[len(replies)]
            if out:
                self._send(out, current)
            if not self._receive(current):
                now = time.monotonic()
                deadline = deadline or now + self.timeout
                what = f"the store's answer to {current.name} {current.path}"
                if now >= deadline:
                    raise TimeoutError(f"waited {self.timeout:g} s for {what}")
                events = select.POLLIN | (select.POLLOUT if out else 0)
                self._poll.modify(self._socket, events)
                step = min(deadline - now, SILENCE_STEP)
                if not self._poll.poll(max(1, int(step * 1000))) and (
                    why := self.on_silence(time.monotonic() - deadline + self.timeout)
                ):
                    raise TimeoutError(f"{what} does not come: {why}")
                continue
            self._parse(waiting, replies)
        return replies

    def wait(self, timeout: float | None) -> bool:
        """Wait for events, at most *timeout* seconds; False when none came."""
        nothing = Request(xs_wire.XS_WATCH_EVENT, 0, b"", "", bytes)
        self._poll.modify(self._socket, select.POLLIN)
        if not self._poll.poll(None if timeout is None else max(0, int(timeout * 1000))):
            return False
        while self._receive(nothing):
            self._parse(deque(), [])
        return True

    def _send(self, out: bytearray, current: Request) -> None:
        try:
            sent = self._socket.send(out)
        except BlockingIOError:
            return
        except OSError:
            raise self._disconnected(current) from None
        del out[:sent]

    def _receive(self, current: Request) -> bool:
        try:
            data = self._socket.recv(_RECV)
        except BlockingIOError:
            return False
        except OSError:
            raise self._disconnected(current) from None
        if not data:
            raise self._disconnected(current)
        self._in += data
        return True

    def _disconnected(self, current: Request) -> StoreDisconnected:
        return StoreDisconnected(xen_errno.EIO, current.name, current.path)

    def _parse(self, waiting: deque[int], replies: list[Reply]) -> None:
        data = self._in
        position = 0
        end = len(data)
        while end - position >= _HEADER_SIZE:
            type, req_id, _tx, length = _HEADER.unpack_from(data, position)
            stop = position + _HEADER_SIZE + length
            if stop > end:
                break
            payload = bytes(data[position + _HEADER_SIZE : stop])
            position = stop
            if type == xs_wire.XS_WATCH_EVENT:
                self.on_event(payload)
            elif waiting and req_id == waiting[0]:
                waiting.popleft()
                replies.append((type, payload))
            # else: the answer to a request that was given up
        del data[:position]


class SocketStore(StoreClient):
    """A :class:`StoreClient` over the tools' socket; a context manager."""

    transport: SocketTransport

    def __init__(
        self, path: str, label: str = "", lab: str = "", timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        super().__init__(self.open_transport(path, label, lab, timeout))

    def open_transport(self, path: str, label: str, lab: str, timeout: float) -> SocketTransport:
        """The connection.  Raises OSError."""
        return SocketTransport(path, label, lab, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
) -> SocketStore:
    """Connect to the store's socket (*path*, or where Xen's tools look).

    Where nobody listens, look again for *patience* seconds: whoever knows that the lab runs may
    have come between the store's death and its return.

    Raises: OSError when nobody listens there or access is denied.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return SocketStore(path or default_socket(), label, lab, timeout)
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY)


def _ignore_event(_payload: bytes) -> None:
    return None


def _ignore_dispatch() -> bool:
    return False


def _ask_nobody(_seconds: float) -> str:
    return ""
