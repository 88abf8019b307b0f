"""The door to a program's nodes, and one connection for each process that came through it.

What a process does wrong costs it its connection at most.  All is bounded: processes, files,
areas, bytes of a message; and nothing waits, for this is the loop of a domain's kernel.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import termios
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi.memory import PAGE_MASK, PAGE_SHIFT
from hvsim.devnodes import node, texts
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.copying import Copier
from hvsim.devnodes.dialogue import BUFFER as MAX_WRITE
from hvsim.devnodes.evtchn import EvtchnFile
from hvsim.devnodes.gntalloc import GntallocFile, GrefPool
from hvsim.devnodes.gntdev import GntdevFile
from hvsim.devnodes.node import Area, Areas, Ioctl, NodeFile, Write
from hvsim.devnodes.ports import Ports
from hvsim.devnodes.privcmd import ForeignArea, PrivcmdFile
from hvsim.devnodes.wire import (
    ATTACH,
    BAD_ARGUMENT,
    MAX_FDS,
    MAX_MESSAGE,
    MAX_ROWS,
    NO_PAGE,
    REPLY,
    ROW,
    Op,
    Request,
)
from hvsim.devnodes.xenbus import XenbusFile
from hvsim.domain.hypercall import HypercallError
from hvsim.wire import rights
from hvsim.wire.peer import credentials

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_PROCESSES: Final = 256
MAX_FILES: Final = 512
_PROT_WRITE: Final = 2


class Answer:
    """What a request brings: a number, an area to be placed, bytes, and descriptors (*fds*, in
    this order), of which those in *ours_no_more* are closed when they were sent."""

    __slots__ = ("address", "area", "count", "data", "fds", "ours_no_more", "result")

    def __init__(self, result: int = 0, data: bytes = b"") -> None:
        self.result = result
        self.data = data
        self.area = self.address = self.count = 0
        self.fds: list[int] = []
        self.ours_no_more: list[int] = []

    def give(self, fds: list[int]) -> None:
        """Send these, and close them here."""
        self.fds += fds
        self.ours_no_more += fds


class NodeServer:
    """Serves /dev/xen/* and /proc/xen/* to the processes of one program.

    Args:
        dom: the domain that the program is; its vCPU loop serves.
        door: our end of the ``SOCK_SEQPACKET`` pair whose other end the program inherits under
            the number in HVSIM_DOOR; owned from here on.
        store: the socket of the domain's xenstored; without one there is no /dev/xen/xenbus.
    """

    def __init__(self, dom: Domain, door: socket.socket, store: str | None = None) -> None:
        self.dom = dom
        self._store = store
        self.files: dict[int, NodeFile] = {}
        self._door = door
        door.setblocking(False)
        self._processes: set[_Process] = set()
        self._ports = Ports(dom)
        self._copier = Copier(dom)
        self._pool = GrefPool(dom, self._ports)
        dom.vcpu.add_fd(door.fileno(), self._knocked)

    @property
    def open_door(self) -> bool:
        """Whether a process of the program is left."""
        return self._door.fileno() >= 0 and not node.hung_up(self._door)

    def close(self) -> None:
        """The program has ended: what it left is taken back, and its peers are told."""
        self._close_door()
        for process in list(self._processes):
            process.close()
        for number in list(self.files):
            self._drop(number)
        try:
            self._pool.cleanup()
            self._copier.close()
        except HypercallError as error:
            self.dom.log(f"nodes: {error}")

    def open(self, kind: int) -> NodeFile:
        """A new open file.

        Raises: OSError: EMFILE, ENODEV, ENOENT; what the store's socket says.
        """
        if len(self.files) >= MAX_FILES:
            raise OSError(errno.EMFILE, f"{MAX_FILES} open nodes is the limit")
        number: list[int] = []

        def closed() -> None:
            self._drop(number[0])

        file: NodeFile
        if kind == node.EVTCHN:
            file = EvtchnFile(self.dom, closed, self._ports)
        elif kind == node.GNTDEV:
            file = GntdevFile(self.dom, closed, self._ports, self._copier)
        elif kind == node.GNTALLOC:
            file = GntallocFile(self.dom, closed, self._pool)
        elif kind == node.PRIVCMD:
            file = PrivcmdFile(self.dom, closed)
        elif kind == node.XENBUS:
            if self._store is None:
                raise OSError(errno.ENOENT, "the domain has no store")
            file = XenbusFile(self.dom, closed, self._store)
        else:
            raise OSError(errno.ENODEV, f"node {kind}")
        number.append(file.id)
        self.files[file.id] = file
        return file

    def forget(self, process: _Process) -> None:
        """A process has gone."""
        self._processes.discard(process)
        for file in list(self.files.values()):
            file.forget(process)

    def _drop(self, number: int) -> None:
        file = self.files.pop(number, None)
        if file is not None:
            file.close()

    def _knocked(self) -> None:
        """A process of the program sends one end of a pair of its own."""
        try:
            data, fds = rights.receive(self._door, 16, 1, socket.MSG_DONTWAIT)
        except (BlockingIOError, rights.Truncated):  # nothing, or nothing of the library's
            return
        except OSError:
            data, fds = b"", []
        if data == ATTACH and len(fds) == 1 and len(self._processes) < MAX_PROCESSES:
            wire = _socket(fds[0])
            if wire is not None:
                self._processes.add(_Process(self, wire))
                return
        rights.close(fds)
        # The last process that holds the door has gone; or one has sent an empty message.
        if not data and node.hung_up(self._door):
            self._close_door()

    def _close_door(self) -> None:
        if self._door.fileno() >= 0:
            self.dom.vcpu.remove_fd(self._door.fileno())
            self._door.close()


def _socket(fd: int) -> socket.socket | None:
    """A Unix packet socket out of what a process sent; None (and closed) for anything else."""
    try:
        wire = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    if wire.family != socket.AF_UNIX or wire.type != socket.SOCK_SEQPACKET:
        wire.close()
        return None
    wire.setblocking(False)
    return wire


class _Process:
    """One process of the program.  Its socket hangs up when it ends, after its memory is gone."""

    def __init__(self, server: NodeServer, wire: socket.socket) -> None:
        self._server = server
        self._dom = server.dom
        self._wire = wire
        self._caller = Caller(credentials(wire).pid)
        self._areas = Areas()
        self._unread_fds = False
        self._deferred = False
        self._dom.vcpu.add_fd(wire.fileno(), self._heard)

    def close(self) -> None:
        """It is gone, or has broken the rules: what it had mapped is unmapped."""
        if self._wire.fileno() >= 0:
            self._dom.vcpu.remove_fd(self._wire.fileno())
            self._wire.close()
            self._server.forget(self)
            self._areas.clear()

    def _heard(self) -> None:
        try:
            # The process made this pair and may hold our end as well, and its flags.
            message = self._wire.recv(MAX_MESSAGE + 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self.close()
            return
        if self._deferred or (self._unread_fds and self._outstanding()):
            # Descriptors in flight are counted by the kernel for all processes of the user.
            self.close()
            return
        try:
            request = Request.parse(message)
        except struct.error:
            self.close()
            return
        answer = self._serve(request)
        if answer is not None:
            self._send(answer)

    def _serve(self, request: Request) -> Answer | None:
        """None when the answer comes later."""
        handler = _HANDLERS.get(request.op)
        try:
            if handler is None:
                raise OSError(errno.ENOSYS, f"request {request.op}")
            return handler(self, request)
        except HypercallError as error:
            return Answer(-(error.errno or errno.EINVAL))
        except OSError as error:
            return Answer(-(error.errno or errno.EIO))
        except Exception:
            # A bug of ours. It costs this call, and not the domain.
            self._dom.log(traceback.format_exc())
            return Answer(-errno.EIO)

    def _send(self, answer: Answer) -> None:
        head = REPLY.pack(answer.result, answer.area, answer.address, answer.count)
        try:
            if answer.fds:
                rights.send(self._wire, [head, answer.data], answer.fds, socket.MSG_DONTWAIT)
            else:
                self._wire.send(head + answer.data, socket.MSG_DONTWAIT)
        except OSError:
            # It has gone, or reads nothing: either way there is nobody to answer.
            self.close()
        finally:
            rights.close(answer.ours_no_more)
        self._unread_fds = bool(answer.fds)

    def _outstanding(self) -> bool:
        count = array.array("i", [0])
        fcntl.ioctl(self._wire.fileno(), termios.TIOCOUTQ, count)
        return count[0] > 0

    def _file(self, number: int) -> NodeFile:
        file = self._server.files.get(number)
        if file is None:
            raise OSError(errno.EBADF, "no file of this program's")
        return file

    # -- requests -------------------------------------------------------------------------------

    def open(self, request: Request) -> Answer:
        """The far end goes to the program, and is its alone."""
        file = self._server.open(request.a)
        answer = Answer(file.kind)
        answer.area = file.id
        answer.give([file.far.detach()])
        return answer

    def find(self, request: Request) -> Answer:
        return Answer(self._file(request.file).kind)

    def ioctl(self, request: Request) -> Answer:
        file = self._file(request.file)
        if not file.knows(request.a):
            return Answer(-file.unknown)
        size = request.a >> 16 & 0x3FFF  # _IOC_SIZE
        if request.flags & BAD_ARGUMENT or len(request.data) < size:
            return Answer(-errno.EFAULT)
        call = Ioctl(self._caller, request.a, request.data[:size], request.b, self._areas)
        self._areas.check_room()
        result = file.ioctl(call)
        answer = Answer(result.value, result.out)
        if result.area is not None:
            self._enter(answer, result.area)
        return answer

    def mmap(self, request: Request) -> Answer:
        file = self._file(request.file)
        count = request.b >> PAGE_SHIFT
        if not count or (request.a | request.b | request.d) & PAGE_MASK:
            raise OSError(errno.EINVAL, "no whole pages")
        self._areas.check_room()
        answer = Answer()
        area = file.mmap(request.a, request.d, count, bool(request.c & _PROT_WRITE))
        self._enter(answer, area)
        return answer

    def _enter(self, answer: Answer, area: Area) -> None:
        answer.area = self._areas.add(area)
        answer.address = area.address
        answer.count = area.count

    def pages(self, request: Request) -> Answer:
        """Rows of pages; fewer than asked for when an answer carries no more descriptors."""
        area = self._areas.get(request.a)
        first, count = request.b, request.c
        if not (0 < count <= MAX_ROWS and first + count <= area.count):
            raise OSError(errno.EINVAL, "no such pages")
        answer = Answer()
        numbers: dict[int, int] = {}
        rows: list[bytes] = []
        for index in range(first, first + count):
            place = area.place(index) if index in area.live else None
            if place is None:
                rows.append(ROW.pack(NO_PAGE, 0))
                continue
            fd, offset = place
            number = numbers.get(fd)
            if number is None:
                if len(numbers) == MAX_FDS:
                    break
                number = numbers[fd] = len(numbers)
                answer.fds.append(fd)
            rows.append(ROW.pack(number, offset >> PAGE_SHIFT))
        answer.count = len(rows)
        answer.data = b"".join(rows)
        if isinstance(area, ForeignArea) and first + len(rows) == area.count:
            answer.ours_no_more = area.taken()
        return answer

    def munmap(self, request: Request) -> Answer:
        """1 when that was the last of the area."""
        return Answer(int(self._areas.unmap(request.a, request.b, request.c)))

    def write(self, request: Request) -> Answer | None:
        """write(2) of a node that answers for it."""
        bad = bool(request.flags & BAD_ARGUMENT) or len(request.data) < request.c <= MAX_WRITE
        data = None if bad else request.data
        done = self._file(request.file).write(
            Write(self, request.c, data, bool(request.a), self._answer_write)
        )
        self._deferred = done is None
        return None if done is None else Answer(done)

    def _answer_write(self, result: int) -> None:
        self._deferred = False
        self._send(Answer(result))

    def proc(self, request: Request) -> Answer:
        """A file of /proc/xen or /sys/hypervisor; see :mod:`~hvsim.devnodes.texts`."""
        answer = Answer()
        answer.give([texts.open_file(self._dom, request.a)])
        return answer


_HANDLERS: Final[dict[int, Callable[[_Process, Request], Answer | None]]] = {
    Op.OPEN: _Process.open,
    Op.FIND: _Process.find,
    Op.IOCTL: _Process.ioctl,
    Op.MMAP: _Process.mmap,
    Op.PAGES: _Process.pages,
    Op.MUNMAP: _Process.munmap,
    Op.PROC: _Process.proc,
    Op.WRITE: _Process.write,
}
