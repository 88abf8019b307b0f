"""What the open files of all nodes have in common, and the areas that a process maps of them."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.devnodes.caller import Caller

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

SO_COOKIE: Final = 57
EVTCHN: Final = 1
GNTDEV: Final = 2
GNTALLOC: Final = 3
PRIVCMD: Final = 4
XENBUS: Final = 5
"""Which node a file is of."""


@dataclass(slots=True)
class Ioctl:
    """One call of ioctl(2).

    Attributes:
        command: its number.
        data: the argument's bytes, as many as the number says (all there, or *bad* is set).
        address: where the argument lies in the caller.
        areas: what the caller has mapped, for calls that name an address.
    """

    caller: Caller
    command: int
    data: bytes
    address: int
    areas: Areas


@dataclass(slots=True)
class Result:
    """What an ioctl answers: its value, what goes back into the argument, and an area that the
    library is to lay over addresses of the caller."""

    value: int = 0
    out: bytes = b""
    area: Area | None = None


@dataclass(slots=True, eq=False)
class Write:
    """One call of write(2) on a node that answers for it.

    Attributes:
        who: the process; another one's writes wait until its own is over.
        size: bytes of it, of which *data* has as many as there may be; None when they lie where
            nothing is.
        again: the program has been told to ask again for the end of this write.
        answer: takes the answer when it comes later.
    """

    who: object
    size: int
    data: bytes | None
    again: bool
    answer: Callable[[int], None]


class Area:
    """Pages that one process has mapped through a file.

    Attributes:
        address: of its first page in the process.
        count: pages; some may be unmapped again.
    """

    def __init__(self, file: NodeFile, address: int, count: int) -> None:
        self.file = file
        self.address = address
        self.count = count
        self.live = set(range(count))

    def place(self, index: int) -> tuple[int, int] | None:
        """Descriptor and byte offset of a page that is mapped; None for a hole."""
        return None

    def page_gone(self, index: int) -> None:
        """A page was unmapped."""

    def ended(self) -> None:
        """The last page was unmapped."""

    def unmap(self, first: int, count: int) -> bool:
        """Pages from *first* are mapped no more; returns whether that was the last of it."""
        for index in range(max(0, first), min(first + count, self.count)):
            if index in self.live:
                self.live.discard(index)
                self.page_gone(index)
        if self.live:
            return False
        self.ended()
        return True


class Areas:
    """What one process has mapped."""

    MAX: Final = 1024
    """Areas of one process."""

    def __init__(self) -> None:
        self._areas: dict[int, Area] = {}
        self._next = 1

    def check_room(self) -> None:
        """Raises OSError(ENOMEM) when there are too many."""
        if len(self._areas) >= self.MAX:
            raise OSError(errno.ENOMEM, f"{self.MAX} mappings is the limit")

    def add(self, area: Area) -> int:
        """Number an area."""
        number = self._next
        self._next += 1
        self._areas[number] = area
        return number

    def get(self, number: int) -> Area:
        """Raises OSError(EINVAL)."""
        area = self._areas.get(number)
        if area is None:
            raise OSError(errno.EINVAL, "no such area")
        return area

    def at(self, file: NodeFile, address: int) -> Area | None:
        """The area of *file* that covers *address*."""
        for area in self._areas.values():
            page = (address - area.address) >> 12
            if area.file is file and page in area.live:
                return area
        return None

    def unmap(self, number: int, first: int, count: int) -> bool:
        """Pages of an area are mapped no more; whether it has ended so.  Raises OSError(EINVAL)."""
        if not self.get(number).unmap(first, count):
            return False
        self._areas.pop(number, None)
        return True

    def clear(self) -> None:
        """The process is gone."""
        for area in list(self._areas.values()):
            area.unmap(0, area.count)
        self._areas.clear()


class NodeFile:
    """One open file (a file description) of a node; every method raises OSError for the caller.

    The program's descriptor is the other end of a socket pair: it hangs up when the last copy of
    it is closed, in whatever process, and its cookie says which file a descriptor is of.

    Args:
        on_closed: called when the last descriptor is closed.
    """

    kind = 0

    def __init__(self, dom: Domain, on_closed: Callable[[], None]) -> None:
        self.dom = dom
        self._on_closed = on_closed
        self.stream, self.far = socket.socketpair(socket.AF_UNIX, self.socket_kind)
        self.stream.setblocking(False)
        (self.id,) = struct.unpack("=Q", self.far.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
        if not self.readable:
            self.far.shutdown(socket.SHUT_RD)
        dom.vcpu.add_fd(self.stream.fileno(), self._heard)

    def ioctl(self, call: Ioctl) -> Result:
        """Serve ioctl(2) of a command whose argument could be read."""
        raise NotImplementedError

    def knows(self, command: int) -> bool:
        """Whether there is such a command; if not, *unknown* is the errno."""
        raise NotImplementedError

    unknown: int = errno.ENOTTY
    socket_kind = socket.SOCK_SEQPACKET
    readable = False
    """Whether there is something to read; if not, a read that the library does not see finds the
    end and does not wait."""

    def mmap(self, address: int, offset: int, count: int, writable: bool) -> Area:
        """Serve mmap(2) of *count* pages."""
        raise OSError(errno.ENODEV, "nothing to map")

    def written(self, data: bytes) -> None:
        """The program wrote to it, which means something to evtchn and xenbus only."""

    def write(self, write: Write) -> int | None:
        """Serve write(2) for the nodes whose writes are answered; None when the answer comes
        later, through ``write.answer``."""
        raise OSError(errno.EINVAL, "nothing to be written here")

    def room(self) -> None:
        """The program has read, and there is room for more."""

    def forget(self, who: object) -> None:
        """A process has gone, whose write may not be over."""

    def release(self) -> None:
        """The last descriptor is closed; areas live on."""

    def close(self) -> None:
        """Let go of it."""
        self.dom.vcpu.remove_fd(self.stream.fileno())
        self.stream.close()
        self.far.close()
        self.release()

    def _heard(self) -> None:
        self.room()
        try:
            data = self.stream.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.written(data)
        elif hung_up(self.stream):
            self._on_closed()


def hung_up(sock: socket.socket) -> bool:
    """Whether nobody holds the other end any more.  An empty message says nothing of it."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))
