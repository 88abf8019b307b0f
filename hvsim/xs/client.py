"""The store client: the verbs of xenstore over any transport.

:class:`StoreClient` is what programs, drivers and tools hold.  How bytes travel is the
:class:`Transport`'s business: ``hvsim.domain.xenbus`` has one for a domain's ring,
``hvsim.xs.blocking`` one for the tools' socket.

Watch events are queued where they arrive and handed to callbacks by :meth:`dispatch_events`, which
the transport calls from the domain's loop, never from inside another store operation: a callback
may therefore use the store freely, and is never entered while another callback runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs import requests
from hvsim.xs.errors import StoreDisconnected as StoreDisconnected
from hvsim.xs.errors import StoreError as StoreError
from hvsim.xs.errors import StoreNotFound as StoreNotFound
from hvsim.xs.listing import Listing
from hvsim.xs.requests import Request
from hvsim.xs.transaction import attempts, too_many
from hvsim.xs.wire import Reply as Reply

T = TypeVar("T")


class Transport(Protocol):
    """Carries requests to the store and brings replies and events."""

    on_event: Callable[[bytes], None]
    """Called with the payload of every XS_WATCH_EVENT; must not use the transport."""

    on_dispatch: Callable[[], bool]
    """To be called from the owner's loop when events came; returns whether some are left."""

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        """Send *batch* and return the replies in its order.

        Bounded.  Raises: StoreDisconnected; TimeoutError that names the first request that is
        unanswered.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Watch:
    """A registered watch.

    Attributes:
        path: as registered; events are relative if it is.
        token: what the store repeats in each event.
    """

    __slots__ = ("callback", "path", "token")

    def __init__(self, path: str, token: str, callback: Callable[[str], object]) -> None:
        self.path = path
        self.token = token
        self.callback = callback

    def __repr__(self) -> str:
        return f"<Watch {self.path} token {self.token}>"


class Transaction(int):
    """A running transaction: its id, with the verbs bound to it."""

    _client: StoreClient

    def __new__(cls, tx: int, client: StoreClient) -> Transaction:
        self = super().__new__(cls, tx)
        self._client = client
        return self

    def read(self, path: str) -> str:
        """As :meth:`StoreClient.read`."""
        return self._client.read(path, self)

    def read_bytes(self, path: str) -> bytes:
        """As :meth:`StoreClient.read_bytes`."""
        return self._client.read_bytes(path, self)

    def write(self, path: str, value: str | bytes) -> None:
        """As :meth:`StoreClient.write`."""
        self._client.write(path, value, self)

    def mkdir(self, path: str) -> None:
        """As :meth:`StoreClient.mkdir`."""
        self._client.mkdir(path, self)

    def rm(self, path: str) -> None:
        """As :meth:`StoreClient.rm`."""
        self._client.rm(path, self)

    def directory(self, path: str) -> list[str]:
        """As :meth:`StoreClient.directory`."""
        return self._client.directory(path, self)

    def exists(self, path: str) -> bool:
        """As :meth:`StoreClient.exists`."""
        return self._client.exists(path, self)

    def get_perms(self, path: str) -> list[str]:
        """As :meth:`StoreClient.get_perms`."""
        return self._client.get_perms(path, self)

    def set_perms(self, path: str, perms: Iterable[str]) -> None:
        """As :meth:`StoreClient.set_perms`."""
        self._client.set_perms(path, perms, self)

    def write_many(self, values: dict[str, str]) -> None:
        """Write all of *values* (path to value) in one go.  Raises the first StoreError."""
        self._client.pipeline_all([requests.write(p, v, self) for p, v in values.items()])


class StoreClient:
    """The verbs of the store.  Not thread-safe.

    Paths may be absolute or relative to the own domain's ``/local/domain/<domid>``.  Every verb
    raises :class:`StoreError` (:class:`StoreNotFound` for ENOENT, :class:`StoreDisconnected` when
    the store has gone) and, when no answer comes in time, a ``TimeoutError`` that names the
    request.  *tx* is a transaction's id or a :class:`Transaction`.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._watches: dict[str, Watch] = {}
        self._events: deque[tuple[str, str]] = deque()
        self._next_token = 1
        self._dispatching = False
        transport.on_event = self._event
        transport.on_dispatch = self.dispatch_events

    def close(self) -> None:
        """Close the transport; watches end with it."""
        self._watches.clear()
        self._events.clear()
        self.transport.close()

    # -- many at once ------------------------------------------------------------------------

    def call(self, request: Request[T]) -> T:
        """Make one request; returns the verb's result.  Raises StoreError."""
        type, payload = self.transport.exchange((request,))[0]
        return request.result(type, payload)

    def pipeline(self, batch: Sequence[Request[T]]) -> list[T | StoreError]:
        """Make many requests without waiting in between; one result each, in order.

        The store answers them one after the other in this order.  A refused request has its
        :class:`StoreError` *in the list* instead of a result; the others are carried out.
        Requests are made with the functions of ``hvsim.xs.requests``.
        """
        results: list[T | StoreError] = []
        for request, reply in zip(batch, self.transport.exchange(batch), strict=True):
            try:
                results.append(request.result(*reply))
            except StoreError as error:
                results.append(error)
        return results

    def pipeline_all(self, batch: Sequence[Request[T]]) -> list[T]:
        """As :meth:`pipeline`, but raises the first StoreError (after all were carried out)."""
        results: list[T] = []
        for result in self.pipeline(batch):
            if isinstance(result, StoreError):
                raise result
            results.append(result)
        return results

    def read_many(self, paths: Iterable[str], tx: int = 0) -> list[str | None]:
        """Values of several nodes in one go; None for one that is missing or unreadable."""
        return requests.values(self.pipeline([requests.read(path, tx) for path in paths]))

    # -- nodes ---------------------------------------------------------------------------------

    def read(self, path: str, tx: int = 0) -> str:
        """Value of a node as text."""
        return self.call(requests.read(path, tx))

    def read_bytes(self, path: str, tx: int = 0) -> bytes:
        """Value of a node."""
        return self.call(requests.read_bytes(path, tx))

    def write(self, path: str, value: str | bytes, tx: int = 0) -> None:
        """Set a node's value; the node and its parents are made when they do not exist."""
        self.call(requests.write(path, value, tx))

    def mkdir(self, path: str, tx: int = 0) -> None:
        """Make an empty node (and parents); nothing happens to one that exists."""
        self.call(requests.mkdir(path, tx))

    def rm(self, path: str, tx: int = 0) -> None:
        """Remove a node and everything below; fine when only the node itself is missing."""
        self.call(requests.rm(path, tx))

    def directory(self, path: str, tx: int = 0) -> list[str]:
        """Names of the children, oldest first.

        A list that does not fit into one answer is fetched in parts; when it changes meanwhile
        it is fetched again (a bounded number of times, then StoreError(EAGAIN)).
        """
        try:
            return self.call(requests.directory(path, tx))
        except StoreError as error:
            if error.errno != xen_errno.E2BIG:
                raise
        listing = Listing(path, tx)
        while (names := listing.take(self.call(listing.request))) is None:
            pass
        return names

    def exists(self, path: str, tx: int = 0) -> bool:
        """Whether there is such a node.  Raises StoreError (EACCES) where that is not told."""
        try:
            self.call(requests.read_bytes(path, tx))
        except StoreNotFound:
            return False
        return True

    def get_perms(self, path: str, tx: int = 0) -> list[str]:
        """Permissions as ``["n0", "r1"]``: owner with everybody's right, then single domains."""
        return self.call(requests.get_perms(path, tx))

    def set_perms(self, path: str, perms: Iterable[str], tx: int = 0) -> None:
        """Replace the permissions of a node."""
        self.call(requests.set_perms(path, perms, tx))

    # -- watches -------------------------------------------------------------------------------

    def watch(self, path: str, callback: Callable[[str], object]) -> Watch:
        """Call *callback* with the path of every node at or below *path* that changes.

        It is called once for the registration itself, with *path*.  Calls come from the
        domain's loop (or from ``poll`` of a socket client).
        """
        return self.watch_many([path], callback)[0]

    def watch_many(self, paths: Iterable[str], callback: Callable[[str], object]) -> list[Watch]:
        """As :meth:`watch`, several in one go.  Raises the first StoreError; there is none then."""
        watches = []
        for path in paths:
            watches.append(Watch(path, str(self._next_token), callback))
            self._next_token += 1
        self._watches |= {watch.token: watch for watch in watches}
        try:
            results = self.pipeline([requests.watch(one.path, one.token) for one in watches])
            refused = [one for one in results if isinstance(one, StoreError)]
            if refused:
                told = zip(watches, results, strict=True)
                self.unwatch_many(
                    [one for one, result in told if not isinstance(result, StoreError)]
                )
                raise refused[0]
        except BaseException:
            for watch in watches:
                self._watches.pop(watch.token, None)
            raise
        return watches

    def unwatch(self, watch: Watch) -> None:
        """End a watch; its callback is not called any more.  Idempotent."""
        self.unwatch_many([watch])

    def unwatch_many(self, watches: Iterable[Watch]) -> None:
        """As :meth:`unwatch`, several in one go."""
        stand = [one for one in watches if self._watches.pop(one.token, None) is not None]
        if stand:
            self.pipeline_all([requests.unwatch(one.path, one.token) for one in stand])

    def dispatch_events(self) -> bool:
        """Hand queued events to their callbacks; returns whether events are left.

        Events that come while callbacks run wait for the next call.  An exception out of a
        callback passes through; the remaining events stay queued.  Inside a callback this does
        nothing.
        """
        if self._dispatching:
            return False
        events = self._events
        self._dispatching = True
        try:
            for _ in range(len(events)):
                if not events:
                    break
                path, token = events.popleft()
                watch = self._watches.get(token)
                if watch is not None:
                    watch.callback(path)
        finally:
            self._dispatching = False
        return bool(events)

    @property
    def pending_events(self) -> int:
        """Events that came and were not handed to a callback yet."""
        return len(self._events)

    def _event(self, payload: bytes) -> None:
        parts = requests.strings(payload)
        if len(parts) >= 2:
            self._events.append((parts[xs_wire.XS_WATCH_PATH], parts[xs_wire.XS_WATCH_TOKEN]))

    # -- transactions --------------------------------------------------------------------------

    def transaction(
        self, fn: Callable[[Transaction], T], what: str, then: Sequence[Request[object]] = ()
    ) -> T:
        """Run ``fn(tx)`` in a transaction and commit it; returns what *fn* returned.

        *then* is sent with the commit, so that nobody who waits for what is committed is served in
        between; a refusal of it is no error, and it may come before the commit after a conflict.

        On a conflict (EAGAIN) *fn* is run again with a new transaction, so it must have no other
        effects.  An exception out of *fn* aborts the transaction and passes through.  *what*
        names the purpose in the error.

        Raises: StoreError(EAGAIN) after ``MAX_ATTEMPTS`` conflicts.
        """
        for attempt in attempts():
            tx = Transaction(self.call(requests.transaction_start()), self)
            with attempt.running(partial(self._abort, tx)):
                result = fn(tx)
                attempt.commits()
                committed, *_ = self.pipeline([requests.transaction_end(tx, True), *then])
                if isinstance(committed, StoreError):
                    raise committed
                return result
        raise too_many(what)

    def _abort(self, tx: int) -> None:
        try:
            self.call(requests.transaction_end(tx, False))
        except (StoreError, TimeoutError):
            return  # it ended by itself; the first error is the one that counts

    # -- the daemon ----------------------------------------------------------------------------

    def control(self, *arguments: str) -> str:
        """A CONTROL command, e.g. ``control("quota")``; returns the answer.  Privileged."""
        return self.call(requests.control(arguments))
