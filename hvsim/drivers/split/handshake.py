"""The handshake of a device with one set of rings: what each half does when the other has moved.

The rules are pure (``hvsim.domain.xenbus.state``); what a driver does for each is its own.  The two
classes mirror each other: a frontend publishes what a backend attaches, and both let go.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hvsim.abi.grant_table import GNTST_general_error
from hvsim.abi.xenbus import XenbusState
from hvsim.domain.mapper import GrantError
from hvsim.domain.xenbus.state import (
    BackendReaction,
    FrontendReaction,
    backend_reaction,
    frontend_reaction,
)
from hvsim.errors import Refused

if TYPE_CHECKING:
    from hvsim.domain.hypercall import HypercallError
    from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice


class RingRefused(Refused):
    """What a frontend published cannot be used.

    Attributes:
        before: (number, text) of what the error node says before that.
    """

    def __init__(self, number: int, text: str, before: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(number, text)
        self.before = tuple(before)

    def report(self, device: BackendDevice) -> None:
        """The device is given up with these texts.  Never raises."""
        for number, text in (*self.before, (self.errno or errno.EINVAL, self.strerror or "")):
            device.fatal(number, text)


def refusal(failed: GrantError | HypercallError, what: str, peer: int) -> RingRefused:
    """Why `what` of domain `peer` cannot be mapped, as Linux' backends say it.

    Two texts are on record for a page: its map, then what became of the whole.
    """
    if isinstance(failed, GrantError):
        page = f"mapping in shared page {failed.ref} from domain {peer}"
        before = ((-(failed.status or GNTST_general_error), page),)
        return RingRefused(errno.ENOENT, f"mapping {what}", before)
    return RingRefused(failed.errno or errno.EINVAL, f"mapping {what}")


class FrontHandshake:
    """As Linux' blkfront (``blkback_changed``).

    Args:
        publish: share rings with the backend and say so in the store.
        connect: the backend is Connected: take over its properties, go Connected.
        disconnect: give up what is shared; Closed follows.
        update: the properties of a connected backend may have changed.
    """

    def __init__(
        self,
        device: FrontendDevice,
        publish: Callable[[], None],
        connect: Callable[[], None],
        disconnect: Callable[[], None],
        update: Callable[[], None] = lambda: None,
    ) -> None:
        self._device = device
        self._publish = publish
        self._connect = connect
        self._disconnect = disconnect
        self._update = update

    def otherend_changed(self, state: XenbusState) -> None:
        """The backend's state was reported."""
        device = self._device
        match frontend_reaction(device.state, state):
            case FrontendReaction.PUBLISH:
                self._publish()
            case FrontendReaction.CONNECT:
                self._connect()
            case FrontendReaction.PUBLISH_AND_CONNECT:
                self._publish()
                self._connect()
            case FrontendReaction.UPDATE:
                self._update()
            case FrontendReaction.CLOSE:
                self._disconnect()
                device.switch_state(XenbusState.Closed)
            case FrontendReaction.NOTHING:
                pass


class BackHandshake:
    """As Linux' blkback (``frontend_changed``).

    Args:
        attach: take the rings that the frontend has published (again); go Connected when all that
            this takes is there.
        detach: let go of them.
    """

    def __init__(
        self, device: BackendDevice, attach: Callable[[], None], detach: Callable[[], None]
    ) -> None:
        self._device = device
        self._attach = attach
        self._detach = detach

    def otherend_changed(self, state: XenbusState) -> None:
        """The frontend's state was reported."""
        device = self._device
        # `online` only decides what follows Closed; it is read when it does, as Linux does.
        online = state != XenbusState.Closed or device.online()
        match backend_reaction(device.state, state, online):
            case BackendReaction.REOPEN:
                device.switch_state(XenbusState.InitWait)
            case BackendReaction.CONNECT:
                try:
                    self._attach()
                except RingRefused as refused:
                    refused.report(device)
            case BackendReaction.CLOSING:
                device.switch_state(XenbusState.Closing)
            case BackendReaction.CLOSE:
                self._detach()
                device.switch_state(XenbusState.Closed)
            case BackendReaction.CLOSE_AND_UNREGISTER:
                self._detach()
                device.switch_state(XenbusState.Closed)
                device.unregister()
            case BackendReaction.UNREGISTER:
                device.unregister()
            case BackendReaction.REFUSE:
                device.fatal(errno.EINVAL, f"saw state {int(state)} at frontend")
            case BackendReaction.NOTHING:
                pass
