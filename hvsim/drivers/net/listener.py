"""Whether the frames of a link are listened to: while there is room for them, and not else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hvsim.domain.vcpu import VCPU


class Listener:
    """Of one link; deaf at first.

    Args:
        link: see `link.py`.
        readable: called when there are frames.
        tagged_readable: called when there are frames of a VLAN, where these come apart.

    Attributes:
        on: whether it listens.
    """

    def __init__(
        self,
        vcpu: VCPU,
        link: Any,
        readable: Callable[[], None],
        tagged_readable: Callable[[], None],
    ) -> None:
        self.on = False
        self._vcpu = vcpu
        self._fds = [(link.fd, readable)]
        tagged = getattr(link, "tagged", None)
        if tagged is not None:
            self._fds.append((tagged.fd, tagged_readable))

    def start(self) -> None:
        """Listen.  Idempotent."""
        if not self.on:
            self.on = True
            for fd, readable in self._fds:
                self._vcpu.add_fd(fd, readable)

    def stop(self) -> None:
        """Do not; frames wait in the link's own bounded queue.  Idempotent."""
        if self.on:
            self.on = False
            for fd, _ in self._fds:
                self._vcpu.remove_fd(fd)


class Ear:
    """Of a link without a descriptor, whose frames wait in *ready*; deaf at first.

    Attributes:
        on: whether it listens.
    """

    def __init__(self, vcpu: VCPU, ready: deque[bytes], readable: Callable[[], None]) -> None:
        self.on = False
        self._vcpu = vcpu
        self._ready = ready
        self._readable = readable
        self._called = False

    def start(self) -> None:
        """Listen.  Idempotent."""
        self.on = True
        self.tell()

    def stop(self) -> None:
        """Do not.  Idempotent."""
        self.on = False

    def tell(self) -> None:
        """There may be some: whoever listens hears of it in the next turn."""
        if self.on and self._ready and not self._called:
            self._called = True
            self._vcpu.call_later(0.0, self._call)

    def _call(self) -> None:
        self._called = False
        if self.on and self._ready:
            self._readable()
            self.tell()


def listener(
    vcpu: VCPU, link: Any, readable: Callable[[], None], tagged_readable: Callable[[], None]
) -> Listener | Ear:
    """That of *link*, or the one that it has itself."""
    own: Callable[[Callable[[], None]], Ear] | None = getattr(link, "listener", None)
    return Listener(vcpu, link, readable, tagged_readable) if own is None else own(readable)
