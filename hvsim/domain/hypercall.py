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
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import hypercall as abi
from hvsim.wire import rights
from hvsim.wire.packing import packer, unpack

HYPERVISOR_GONE_STATUS: Final = 69
"""Exit status (EX_UNAVAILABLE) of a process whose hypervisor has gone."""

Taken = TypeVar("Taken")


class HypercallError(OSError):
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
    """

    def __init__(self, connection_fd: int, on_gone: Callable[[], NoReturn] = exit_process) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=connection_fd)
        # Blocking from birth; to say so again would be an ioctl that the sandbox refuses.
        # Anonymous pages, so that only what replies really need is ever touched.
        self._buffer = mmap.mmap(-1, abi.MESSAGE_MAX, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._buffer)
        self._pack: Final[Callable[[Any], bytes]] = packer()
        self.on_gone = on_gone

    def fileno(self) -> int:
        """The connection's descriptor; the vCPU watches it for the hypervisor's death."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection; the hypervisor takes it for the death of this process."""
        self._socket.close()
        self._view.release()
        self._buffer.close()

    def call(self, call: int, cmd: int, *args: Any) -> list[Any]:
        """Make one hypercall that brings no descriptors; returns the results.

        Raises: HypercallError with the hypervisor's errno; HypercallError(E2BIG) for a request
            over 64 KiB.
        """
        request = self._pack((call, cmd, *args))
        if len(request) > abi.MESSAGE_MAX:
            raise HypercallError(xen_errno.E2BIG, call, cmd)
        try:
            size = self._ask(request, lambda: self._socket.recv_into(self._buffer))
        except (BrokenPipeError, ConnectionResetError):
            size = 0
        if size == 0:
            self.on_gone()
        return self._results(size, call, cmd)

    def call_fds(self, call: int, cmd: int, *args: Any) -> tuple[list[Any], list[int]]:
        """Make one hypercall that may bring descriptors; returns (results, descriptors).

        The descriptors are the caller's to close; they are close-on-exec.

        Raises: as :meth:`call`; no descriptor stays open then.
        """
        request = self._pack((call, cmd, *args))
        if len(request) > abi.MESSAGE_MAX:
            raise HypercallError(xen_errno.E2BIG, call, cmd)
        try:
            size, fds = self._ask(
                request, lambda: rights.receive_into(self._socket, self._buffer, rights.MAX)
            )
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

    def _ask(self, request: bytes, answer: Callable[[], Taken]) -> Taken:
        """Send a call and take its answer.

        The connection may not wait by itself: a program that took it, if only for a moment, may
        have set its O_NONBLOCK, which both of us share.
        """
        sent = 0
        while True:
            try:
                sent = sent or self._socket.send(request)
                return answer()
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._socket.fileno(), select.POLLIN if sent else select.POLLOUT)
                poll.poll()

    def _results(self, size: int, call: int, cmd: int) -> list[Any]:
        reply: list[Any] = unpack(self._view[:size], strict_map_key=False)
        rc = reply[0]
        if rc:
            raise HypercallError(-rc, call, cmd)
        del reply[0]
        return reply
