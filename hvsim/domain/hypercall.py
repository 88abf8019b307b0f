"""Hypercalls: one call, one answer, over the socket pair that the hypervisor gave this process.

The socket *is* the domain: the hypervisor knows the caller by the socket that a message came
from, nothing in the message says who it is.  A request is msgpack ``[call, cmd, *args]``, a reply
``[rc, *results]`` with ``rc`` 0 or a negative Xen errno; descriptors travel beside the reply.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NoReturn, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import hypercall as abi
from hvsim.domain.vcpu import wait_for
from hvsim.errors import Refused
from hvsim.wire import rights
from hvsim.wire.packing import packer, unpack
from hvsim.wire.typed import read

HYPERVISOR_GONE_STATUS: Final = 69
"""Exit status (EX_UNAVAILABLE) of a process whose hypervisor has gone."""

Taken = TypeVar("Taken")
Told = TypeVar("Told")
_TAGGED: Final = 0x91
"""msgpack's first byte of ``[tag]``, which is the second of a late answer: of any other it is the
first byte of a number."""


class HypercallError(Refused):
    """The hypervisor refused a call.

    Attributes:
        errno: the positive Xen error number (``hvsim.abi.errno``).
        call, cmd: what was asked, e.g. ``HYPERVISOR_grant_table_op``, ``GNTTABOP_copy``.
    """

    def __init__(self, number: int, call: int, cmd: int) -> None:
        name = abi.NAMES.get(call, f"hypercall {call}")
        super().__init__(number, f"{name} command {cmd:#x}: {xen_errno.name(number)}")
        self.call = call
        self.cmd = cmd


def exit_process() -> NoReturn:
    """The machine under this domain was switched off: nothing can be saved, so nothing is tried.

    ``os._exit`` on purpose: clean-up code would only make more hypercalls.
    """
    os._exit(HYPERVISOR_GONE_STATUS)


class Hypercalls:
    """The client end of a hypercall connection.  Not thread-safe: a domain has one thread.

    Args:
        connection_fd: the SEQPACKET socket; owned from here on.
        on_gone: called when the hypervisor has closed the connection; must not return.  The
            default ends the process.

    Attributes:
        on_late: told of each late answer to a tagged call (:meth:`begin`): its tag, then what a
            plain call would have been answered with.  It may come in the middle of another call.
    """

    def __init__(self, connection_fd: int, on_gone: Callable[[], NoReturn] = exit_process) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=connection_fd)
        # Blocking from birth; to say so again would be an ioctl that the sandbox refuses.
        # Anonymous pages, so that only what replies really need is ever touched.
        self._buffer = mmap.mmap(-1, abi.MESSAGE_MAX, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._buffer)
        self._recv = partial(self._socket.recv_into, self._buffer)
        self._pack: Final[Callable[[object], bytes]] = packer()
        self.on_gone = on_gone
        self.on_late: Callable[[int, Sequence[object]], object] = _nobody_waits

    def fileno(self) -> int:
        """The connection's descriptor; the vCPU watches it for the hypervisor's death."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection; the hypervisor takes it for the death of this process."""
        self._socket.close()
        self._view.release()
        self._buffer.close()

    def call(self, call: int, cmd: int, *args: object) -> list[object]:
        """Make one hypercall that brings no descriptors; returns the results.

        Raises: HypercallError with the hypervisor's errno; HypercallError(E2BIG) for a request
            over 64 KiB.
        """
        request = self._pack((call, cmd, *args))
        if len(request) > abi.MESSAGE_MAX:
            raise HypercallError(xen_errno.E2BIG, call, cmd)
        try:
            self._patiently(select.POLLOUT, partial(self._socket.send, request))
            size = self._patiently(select.POLLIN, self._recv)
        except (BrokenPipeError, ConnectionResetError):
            size = 0
        if size == 0:
            self.on_gone()
        return self._results(size, call, cmd)

    def begin(self, tag: int, call: int, cmd: int, *args: object) -> list[object] | None:
        """Make a hypercall that may be answered late, and do not wait for that.

        Args:
            tag: its name, from 1; no other open call has it.

        Returns the results, or None when they come through ``on_late``.

        Raises: as :meth:`call`; HypercallError(EBUSY) when too many calls are open.
        """
        request = self._pack(([tag], call, cmd, *args))
        if len(request) > abi.MESSAGE_MAX:
            raise HypercallError(xen_errno.E2BIG, call, cmd)
        self._send(request)
        reply = self._receive()
        if reply[0] == abi.LATER:
            return None
        return self._checked(reply, call, cmd)

    def take_late(self) -> None:
        """Hand the late answers that have come to ``on_late``; for who was told that the
        connection is readable.  Never waits."""
        while True:
            try:
                size = self._socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                size = 0
            if size == 0:
                self.on_gone()
            self._put_late(unpack(self._view[:size], strict_map_key=False))

    def ask(self, kind: type[Told], call: int, cmd: int, *args: object) -> Told:
        """Make one hypercall; returns its first result, which is a *kind*.

        Raises: as :meth:`call`; BadMessage for a result that is none.
        """
        return read(kind, self.call(call, cmd, *args)[0])

    def call_fds(self, call: int, cmd: int, *args: object) -> tuple[list[object], list[int]]:
        """Make one hypercall that may bring descriptors; returns (results, descriptors).

        The descriptors are the caller's to close; they are close-on-exec.

        Raises: as :meth:`call`; no descriptor stays open then.
        """
        request = self._pack((call, cmd, *args))
        if len(request) > abi.MESSAGE_MAX:
            raise HypercallError(xen_errno.E2BIG, call, cmd)
        take = partial(rights.receive_into, self._socket, self._buffer, rights.MAX)
        try:
            self._patiently(select.POLLOUT, partial(self._socket.send, request))
            while True:
                size, fds = self._patiently(select.POLLIN, take)
                if self._view[1] != _TAGGED or not size:
                    break
                # A late answer to another call, which never has descriptors, came first.
                self._put_late(unpack(self._view[:size], strict_map_key=False))
        except (BrokenPipeError, ConnectionResetError):
            self.on_gone()
        except rights.Truncated:  # this process has reached its limit
            raise HypercallError(xen_errno.EMFILE, call, cmd) from None
        if size == 0:
            self.on_gone()
        try:
            return self._results(size, call, cmd), fds
        except BaseException:
            rights.close(fds)
            raise

    def _patiently(self, events: int, do: Callable[[], Taken]) -> Taken:
        """Do what may have to wait for *events* of the connection.

        The connection may not wait by itself: a program that took it, if only for a moment, may
        have set its O_NONBLOCK, which both of us share.
        """
        while True:
            try:
                return do()
            except BlockingIOError:
                wait_for(self._socket.fileno(), events)

    def _results(self, size: int, call: int, cmd: int) -> list[object]:
        reply: list[object] = unpack(self._view[:size], strict_map_key=False)
        rc = reply[0]
        if rc:
            if type(rc) is not list:
                raise _refusal(rc, call, cmd)
            self._put_late(reply)  # to another call, which was made before
            return self._checked(self._receive(), call, cmd)
        del reply[0]
        return reply

    def _checked(self, reply: list[object], call: int, cmd: int) -> list[object]:
        if reply[0]:
            raise _refusal(reply[0], call, cmd)
        return reply[1:]

    def _receive(self) -> list[object]:
        """The answer to the call that was sent, past late ones to others."""
        while True:
            try:
                size = self._patiently(select.POLLIN, self._recv)
            except (BrokenPipeError, ConnectionResetError):
                size = 0
            if size == 0:
                self.on_gone()
            reply: list[object] = unpack(self._view[:size], strict_map_key=False)
            if type(reply[0]) is not list:
                return reply
            self._put_late(reply)

    def _put_late(self, reply: list[object]) -> None:
        (tag,) = read(tuple[int], reply[0])
        self.on_late(tag, reply[1:])

    def _send(self, request: bytes) -> None:
        try:
            self._patiently(select.POLLOUT, partial(self._socket.send, request))
        except (BrokenPipeError, ConnectionResetError):
            self.on_gone()


def _refusal(rc: object, call: int, cmd: int) -> HypercallError:
    return HypercallError(-read(int, rc), call, cmd)


def _nobody_waits(_tag: int, _reply: Sequence[object]) -> None:
    """Who gave up on a call does not want its answer."""
