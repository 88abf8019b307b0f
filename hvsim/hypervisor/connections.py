"""Who is connected: the processes of domains by their tokens, and visitors of the owner's door."""

import select
import socket
from collections.abc import Callable, Sequence
from functools import partial

from hvsim.hypervisor.connection import Connection
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.door import Door, Visits
from hvsim.hypervisor.host import Address, Doorbell, Held
from hvsim.hypervisor.loop import Loop
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.vcpu import VCpu


class Connections:
    """The hypercall connections of a machine.

    Args:
        dispatcher: serves the calls of processes.
        hung_up: called with the token of a process that has closed its end.
    """

    def __init__(
        self,
        loop: Loop,
        machine: Machine,
        dispatcher: Dispatcher,
        hung_up: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._machine = machine
        self._hung_up = hung_up
        self._dispatcher = dispatcher
        self._visits = Visits(machine)
        self._connections: dict[int, Connection] = {}
        self._door: Door | None = None
        self._next_visitor = -1

    def connect(self, process: Process, ours: socket.socket) -> None:
        """Serve a process from now on."""
        left = partial(self._left, process.token, ours.fileno())
        self._serve(process, ours, self._dispatcher, left)

    def is_closed(self, token: int) -> bool:
        """Whether a process that was connected is so no more."""
        connection = self._connections.get(token)
        return connection is None or connection.closed

    def drop(self, token: int) -> None:
        """A process is gone, or is to end. One that is not connected is no error."""
        connection = self._connections.pop(token, None)
        if connection is not None and not connection.closed:
            self._loop.unwatch(connection.fileno())
            connection.close()

    def reply(
        self, address: Address, message: list[object] | bytes, objects: Sequence[Held] = ()
    ) -> None:
        """As ``Host.reply``."""
        token, tag = address
        connection = self._connections.get(token)
        if connection is None:
            return
        reply = message if isinstance(message, bytes) else self._dispatcher.pack(message, tag)
        if tag:
            connection.answer_tagged(reply)
        else:
            connection.answer(reply, list(objects))

    def open_door(self, path: str, upcall: Doorbell) -> None:
        """Serve visitors at *path*, each as a process of dom0 that is none, and whose *upcall*
        nobody hears. Raises OSError."""
        door = Door(path, partial(self._let_in, upcall))
        self._door = door
        self._loop.watch(door.fileno(), select.EPOLLIN, door.answer)

    def close(self) -> None:
        """Nobody is connected any more."""
        for connection in self._connections.values():
            connection.close()
        if self._door is not None:
            self._door.close()

    def _serve(
        self,
        process: Process,
        ours: socket.socket,
        dispatcher: Dispatcher,
        left: Callable[[], None],
    ) -> None:
        loop = self._loop
        connection = Connection(ours, process, dispatcher, loop.modify, loop.call_later, left)
        self._connections[process.token] = connection
        loop.watch(ours.fileno(), select.EPOLLIN, connection.on_event)

    def _left(self, token: int, fd: int) -> None:
        self._loop.closed(fd)
        self._hung_up(token)

    def _let_in(self, upcall: Doorbell, visitor: socket.socket) -> None:
        token, fd = self._next_visitor, visitor.fileno()
        self._next_visitor -= 1
        nobody = VCpu(self._machine.host.now())
        process = Process(token, self._machine.domains[0], "visitor", False, upcall, nobody)
        self._serve(process, visitor, self._visits, partial(self._visitor_left, token, fd))

    def _visitor_left(self, token: int, fd: int) -> None:
        self._loop.closed(fd)
        del self._connections[token]
        assert self._door is not None
        self._door.visitors -= 1
