"""The virtual CPU: the one place where a domain waits, and the one clock it reads.

A domain is one thread.  It calls :meth:`VCPU.block`, which returns when an event channel rang, a
timer is due or (edge daemons only) a descriptor is ready, and then :meth:`VCPU.dispatch`, which
runs the handlers.  Handlers are never entered while another handler runs.

Why no wake-up is lost.  An event channel is a doorbell in edge-triggered epoll (``wire.doorbell``),
and nothing is taken off it by hearing it.  The kernel queues the descriptor on *every* ring and
hands it out at the next ``epoll_wait``; what epoll handed out is remembered in ``pending`` until
its handler is about to run.  ``pending`` is cleared *before* the handler looks at shared memory, so
a ring that is filled after the look rings again.  What a bell cannot do is order a ring's final
check: that is the ring's own barrier (``ring.py``).
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

from hvsim.abi.vcpu_page import BLOCKED_UNTIL_OFFSET, NEVER, RUNNING
from hvsim.domain import clock as clocks
from hvsim.domain.timers import Timer, Timers
from hvsim.domain.waiting import Wait, compiled, in_turns, waiting
from hvsim.errors import TimedOut
from hvsim.wire.doorbell import LISTEN

Handler = Callable[[], None]

_NEVER: Final = NEVER - 2**64

_HANGUP: Final = select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLET


def wait_for(fd: int, events: int) -> None:
    """Wait until a descriptor that should wait by itself, and does not, is ready: the hypercall
    connection of who shares its open file.  No event is heard meanwhile."""
    poll = select.poll()
    poll.register(fd, events)
    poll.poll()


class _Source:
    """A descriptor in the epoll set and what it means."""

    __slots__ = ("disarmed", "fd", "handler", "immediate", "level", "mask", "masked", "pending")

    def __init__(self, fd: int, mask: int, handler: Handler | None) -> None:
        self.fd = fd
        self.mask = mask
        self.handler = handler
        self.pending = False
        self.masked = False
        self.immediate = False
        self.level = False
        self.disarmed = False


_prepared: list[select.epoll] = []


def prepare() -> None:
    """Make the epoll set of this process's VCPU now: behind its walls none can be made."""
    _prepared.append(select.epoll())


class VCPU:
    """The one wait of a domain.  Not thread-safe.

    Args:
        clock: system time in seconds, as the time page says (``domain.clock``).
        wall: the time of day, in nanoseconds of Unix time.
        own: the page in which it says until when it is blocked (``abi.vcpu_page``).
        waits: descriptor of the epoll set to wait in, which is its own from then on.
    """

    def __init__(
        self,
        clock: Callable[[], float] = clocks.machine,
        wall: Callable[[], int] = clocks.machine_wall,
        own: memoryview | None = None,
        waits: int | None = None,
    ) -> None:
        if waits is not None:
            self._epoll = select.epoll.fromfd(waits)
        else:
            self._epoll = _prepared.pop() if _prepared else select.epoll()
        self.clock = clock
        """System time, in seconds; :meth:`now` is a look at it."""
        self.wall = wall
        """The time of day, in nanoseconds of Unix time."""
        page = memoryview(bytearray(8)) if own is None else own
        # Signed, since -1 is written in half the time of 2^64 - 1, and has the same bits.
        self._blocked_until = page[BLOCKED_UNTIL_OFFSET : BLOCKED_UNTIL_OFFSET + 8].cast("q")
        self._compiled = compiled(self._epoll.fileno(), self._blocked_until)
        self.wait: Wait = self._compiled or waiting(self._epoll.poll, self._blocked_until)
        """How it waits, and looks."""
        self._sources: dict[int, _Source] = {}
        self._ports: dict[int, _Source] = {}
        self._pending: list[_Source] = []
        self._timers = Timers()
        self._waiting = self._timers.waiting
        self._dispatching = False

    def fileno(self) -> int:
        """A descriptor that is readable when something has come; for who waits on several."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close the epoll descriptor.  The sources' descriptors belong to their owners."""
        if self._compiled is not None:
            self._compiled.release()
        self._epoll.close()
        self._blocked_until.release()
        self._sources.clear()
        self._ports.clear()
        self._pending.clear()
        self._waiting.clear()

    def take_turns(self, park: Callable[[int], object]) -> None:
        """From now on wait in lockstep; *park* as in `waiting.in_turns`."""
        self.wait = in_turns(self.wait, park)

    # -- time ------------------------------------------------------------------------------

    def now(self) -> float:
        """System time in seconds."""
        return self.clock()

    def call_later(self, delay: float, fn: Handler) -> Timer:
        """Call *fn* from ``dispatch()``, *delay* seconds from now or a little later.

        Resolution is a millisecond; equal deadlines fire in the order they were made.
        """
        return self._timers.add(self.clock() + delay, fn)

    # -- the wait --------------------------------------------------------------------------

    def block(
        self, timeout: float | None = None, until: int | None = None, *, port: int | None = None
    ) -> bool:
        """Wait until something is to be dispatched, at most *timeout* seconds (None: no limit).

        With *port*, wait for that event channel only and take its event: its handler will not
        run for it.  What else becomes ready meanwhile stays pending for the next ``dispatch()``,
        timers too.  This is how the store client waits for an answer inside a handler.

        Who waits in a loop hands in *until*, the system time in nanoseconds at which the whole wait
        ends, and saves a look at the clock.

        Returns True when there is something to dispatch (or *port* rang), False after
        *timeout*.  A return is a hint, not a promise: look, then wait again.

        Raises: KeyError for a *port* that is not open.
        """
        if port is not None:
            return self._block_port(self._ports[port], timeout)
        pending = self._pending
        wait = -1.0 if timeout is None else timeout
        if pending:
            wait = 0.0  # still look: a source that is always pending must not hide the others
        elif self._waiting:
            due = self._timers.deadline()
            if due is not None:
                left = max(0.0, due - self.clock())
                if wait < 0.0 or left < wait:
                    wait, until = left, int(due * 1e9)
        if wait:
            if until is None:
                until = _NEVER if timeout is None else int((self.clock() + timeout) * 1e9)
            ready = self.wait(wait, until)
        else:
            ready = self.wait(0.0, RUNNING)
        sources = self._sources
        for fd in ready:
            source = sources.get(fd)
            if source is None:
                continue
            if source.immediate:
                if source.handler is not None:
                    source.handler()
            elif not source.pending:
                source.pending = True
                pending.append(source)
            elif source.level:
                self._disarm(source)
        if pending:
            return True
        if not self._waiting:
            return False
        due = self._timers.deadline()
        return due is not None and due <= self.clock()

    def block_fd(self, fd: int, write: bool, timeout: float | None) -> bool:
        """The same for a descriptor that nobody else listens to: wait until it can be read (or,
        with *write*, written).  A negative one is never ready: just wait."""
        source = _Source(fd, select.EPOLLIN | (select.EPOLLOUT if write else 0), None)
        if fd < 0:
            return self._block_port(source, timeout)
        self._epoll.register(fd, source.mask)
        self._sources[fd] = source
        try:
            return self._block_port(source, timeout)
        finally:
            del self._sources[fd]
            self._epoll.unregister(fd)

    def _block_port(self, wanted: _Source, timeout: float | None) -> bool:
        deadline = None if timeout is None else self.clock() + timeout
        wait = -1.0 if timeout is None else timeout
        until = _NEVER if deadline is None else int(deadline * 1e9)
        while True:
            if wanted.pending:
                # Its entry in the list stays; dispatch() skips what is no longer pending.
                wanted.pending = False
                return True
            for fd in self.wait(wait, until):
                source = self._sources.get(fd)
                if source is None:
                    continue
                if source.immediate:
                    if source.handler is not None:
                        source.handler()
                elif not source.pending:
                    source.pending = True
                    self._pending.append(source)
                elif source.level:
                    self._disarm(source)
            if deadline is not None and not wanted.pending:
                wait = deadline - self.clock()
                if wait <= 0.0:
                    return False

    def dispatch(self) -> None:
        """Run the handlers of everything that is pending, then the timers that are due.

        Each pending source is run once; what becomes pending meanwhile waits for the next call.
        An exception out of a handler leaves the rest pending and passes through.

        Raises: RuntimeError inside a handler: handlers are never re-entered.
        """
        if self._dispatching:
            raise RuntimeError("dispatch() inside a handler: a handler may not wait for another")
        self._dispatching = True
        batch = self._pending
        self._pending = []
        done = 0
        try:
            for source in batch:
                done += 1
                if source.pending and not source.masked:
                    source.pending = False
                    if source.disarmed:
                        source.disarmed = False
                        self._epoll.register(source.fd, source.mask)
                    handler = source.handler
                    if handler is not None:
                        handler()
            if self._waiting:
                self._timers.run(self.clock())
        finally:
            if done < len(batch):
                self._pending[:0] = batch[done:]
            self._dispatching = False

    def run_until(self, pred: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Block and dispatch until ``pred()`` holds; *what* names the wait for people.

        Raises: TimedOut(what, timeout) after *timeout* seconds (None only for a program's
            main loop); RuntimeError inside a handler.
        """
        if pred():
            return
        if timeout is None:
            while not pred():
                self.block()
                self.dispatch()
            return
        clock = self.clock
        deadline = clock() + timeout
        until, remaining = int(deadline * 1e9), timeout
        while remaining > 0.0:
            self.block(remaining, until)
            self.dispatch()
            if pred():
                return
            remaining = deadline - clock()
        raise TimedOut(what, timeout)

    # -- event channels (used by EventChannels) --------------------------------------------

    def open_port(self, port: int, fd: int, handler: Handler | None) -> None:
        """Listen to event channel *port*, whose eventfd is *fd*."""
        source = _Source(fd, LISTEN, handler)
        self._epoll.register(fd, LISTEN)
        self._sources[fd] = source
        self._ports[port] = source

    def declare_port(self, port: int, handler: Handler | None) -> None:
        """Event channel *port*, which has no eventfd before it is bound; see `replace_port`."""
        self._ports[port] = _Source(-1, LISTEN, handler)

    def replace_port(self, port: int, fd: int) -> None:
        """The eventfd of *port* is *fd* from now on.  The port becomes pending, since a notify
        may have gone to the old one; the old descriptor is the caller's to close."""
        source = self._ports[port]
        self._forget(source)
        source.fd = fd
        self._epoll.register(fd, LISTEN)
        self._sources[fd] = source
        self.set_pending(port)

    def close_port(self, port: int) -> None:
        """Stop listening to *port*.  Must come before its eventfd is closed: the peer holds the
        same open file, so closing alone would leave it in the epoll set."""
        source = self._ports.pop(port)
        self._forget(source)
        source.handler = None
        source.pending = False

    def set_port_handler(self, port: int, handler: Handler | None) -> None:
        """Replace the handler.  The port becomes pending: an event may have come before."""
        self._ports[port].handler = handler
        self.set_pending(port)

    def set_pending(self, port: int) -> None:
        """Make *port* look as if it had just rung."""
        source = self._ports[port]
        if not source.pending:
            source.pending = True
            if not source.masked:
                self._pending.append(source)

    def mask_port(self, port: int, masked: bool) -> None:
        """A masked port stays pending without its handler being run; unmasking delivers."""
        source = self._ports[port]
        source.masked = masked
        if not masked and source.pending:
            self._pending.append(source)

    def _forget(self, source: _Source) -> None:
        if self._sources.pop(source.fd, None) is not None and not source.disarmed:
            self._epoll.unregister(source.fd)

    # -- descriptors ------------------------------------------------------------------------

    def add_fd(self, fd: int, handler: Handler, write: bool = False) -> None:
        """Call *handler* whenever *fd* is readable (or, with *write*, writable as well), or has
        hung up.  For edge daemons that talk to the outside; a driver has event channels.

        Level-triggered: what the handler does not read is reported again.  A descriptor that is
        reported while it is pending is disarmed until its handler's turn, so ``block(port=...)``
        does not spin; one whose handler runs at once, as most do, costs no system call for that.
        """
        mask = select.EPOLLIN | (select.EPOLLOUT if write else 0)
        source = _Source(fd, mask, handler)
        source.level = True
        self._epoll.register(fd, mask)
        self._sources[fd] = source

    def modify_fd(self, fd: int, write: bool, read: bool = True) -> None:
        """Change what *fd* is watched for.  Raises KeyError for an unknown descriptor."""
        source = self._sources[fd]
        mask = (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
        if mask != source.mask:
            source.mask = mask
            if not source.disarmed:
                self._epoll.modify(fd, mask)

    def _disarm(self, source: _Source) -> None:
        # Taken out of the set: a mask of nothing would still report a hang-up for ever.
        source.disarmed = True
        self._epoll.unregister(source.fd)

    def remove_fd(self, fd: int) -> None:
        """Stop watching *fd*; call before closing it.  Unknown descriptors are ignored."""
        source = self._sources.get(fd)
        if source is not None:
            self._forget(source)
            source.handler = None
            source.pending = source.disarmed = False

    def add_upcall(self, fd: int, handler: Handler) -> None:
        """Call *handler* inside ``block()`` itself whenever eventfd *fd* rings.

        For the hypervisor's upcall only: descriptors that were swapped must be fetched also
        while someone waits for one port.
        """
        source = _Source(fd, LISTEN, handler)
        source.immediate = True
        self._epoll.register(fd, LISTEN)
        self._sources[fd] = source

    def add_hangup(self, fd: int, handler: Handler) -> None:
        """Call *handler* inside ``block()`` itself when the other end of socket *fd* closes."""
        source = _Source(fd, _HANGUP, handler)
        source.immediate = True
        self._epoll.register(fd, _HANGUP)
        self._sources[fd] = source
