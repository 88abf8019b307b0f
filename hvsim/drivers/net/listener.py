"""Whether the frames of a link are listened to: while there is room for them, and not else."""

from __future__ import annotations

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
