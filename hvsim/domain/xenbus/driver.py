"""What a split driver is to the bus: the protocol both halves of every driver are written to.

The bus (``bus.py``) owns devices; a driver owns what happens on one device.  One driver *instance*
serves one device: the bus calls the registered factory for every device of the driver's type,
hands the device to :meth:`Driver.probe`, and from then on only calls the methods below, always
from ``vcpu.dispatch()`` and never one inside another.

The order is that of Linux' ``drivers/xen/xenbus/xenbus_probe.c``:

1. the device directory appears with ``state`` 1 -> the bus reads the other end's domid and path;
2. ``probe(device)``;
3. the bus sets its watch on ``<otherend>/state``; the watch fires at once, so
   ``otherend_changed`` always follows ``probe`` with the state of that moment;
4. ``otherend_changed(state)`` for every later change, and again without a change: an event means
   "look again", and the same state may be reported many times;
5. ``removed()`` exactly once, when the device directory has gone, when the driver called
   ``device.unregister()``, or when the bus stops.  No method is called after it.

An exception out of ``probe`` or ``otherend_changed`` never leaves the bus: it becomes the
device's fatal error (``error/<nodename>/error`` and state Closing), and other devices go on.

Nothing here may wait for another *handler* (``vcpu.run_until`` raises inside a handler); store
operations may be called anywhere, they wait on their own port only.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice


@runtime_checkable
class Back(Protocol):
    """The backend half of a driver, e.g. blkback: serves ``backend/<type>/<frontend-id>/<id>``."""

    def probe(self, device: BackendDevice) -> None:
        """Take the device: publish features, then ``device.switch_state(InitWait)``.

        Raises: anything; the bus reports it as the device's fatal error.
        """

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's ``state`` was written, or its directory has gone (``Unknown``).

        ``hvsim.domain.xenbus.state.backend_reaction`` says what Linux' blkback does for each.
        Closed with ``online`` = 0, and Unknown, end with ``device.unregister()``.
        """

    def removed(self) -> None:
        """Release ring, grants, event channel and watches.  May come in any state, also after a
        failed ``probe``; must not raise for what was never taken."""


@runtime_checkable
class Front(Protocol):
    """The frontend half of a driver, e.g. blkfront: serves ``device/<type>/<id>``."""

    def probe(self, device: FrontendDevice) -> None:
        """Take the device and read its configuration.

        The ring may be published here or once the backend reaches InitWait (Linux' blkfront
        waits for InitWait).  Raises: anything; the bus reports it as the device's fatal error.
        """

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's ``state`` was written, or its directory has gone (``Unknown``).

        A backend that has gone is no reason to give up: with ``restart = "always"`` the device
        is moved to a new backend and ``backend_moved`` follows.
        """

    def backend_moved(self) -> None:
        """The device now belongs to another backend (``device.otherend`` names it already).

        Called when the toolstack rewrote the key ``backend`` of the device directory: drop the
        old ring, its grants and event channel, and keep every unanswered request.  ``device``
        is Initialising again; ``otherend_changed`` with the new backend's state follows at
        once, and the handshake is made anew from there.
        """

    def close(self) -> None:
        """The domain shuts down: begin an orderly close with ``device.switch_state(Closing)``.

        Returns without waiting.  When ``otherend_changed`` then says Closing, Closed or
        Unknown the driver releases its ring and switches to Closed; the bus waits for that
        state, bounded as in Linux (5 s), and goes on without it.  Called only when the device
        is Connected.
        """

    def removed(self) -> None:
        """Release ring, grants, event channel and watches; fail what is unanswered.

        May come in any state, also after a failed ``probe``; must not raise for what was never
        taken."""
