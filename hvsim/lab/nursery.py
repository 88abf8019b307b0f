"""The process that forks hypervisors for one that has threads, or that keeps little in its memory::

    with Nursery() as nursery:
        running = bring_up(lab, start=nursery.start, ...)

``python -m hvsim.lab.nursery FD MODULE...`` is that process, which imports these modules besides
what every lab is made of; it ends when its user closes the other end, and with its user.

A request is msgpack ``[words, numbers, environment]`` with a descriptor for each of the numbers,
which it is to have in the fork, and the log's last; the answer is ``[pid]`` with a pidfd, or
``[why not]``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Final

from hvsim import shortage
from hvsim.errors import HvsimError
from hvsim.lab import warm_start
from hvsim.lab.launch import INTERPRETER, our_tree
from hvsim.wire import rights
from hvsim.wire.closing import Closing
from hvsim.wire.packing import pack, unpack

START_TIMEOUT: Final = 60.0
"""Seconds that it has to start a hypervisor, and for the first to import what labs are made of."""
END_TIMEOUT: Final = 5.0
"""Seconds that it has to end."""
_LARGEST: Final = 1 << 16


class Nursery(Closing):
    """That process, for its user; a context manager.

    Args:
        preload: modules and packages that it imports besides what every lab is made of.

    Attributes:
        pid: its number.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(*INTERPRETER, "-m", __spec__.name),
                    *(str(theirs.fileno()), *preload),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **our_tree()},
                start_new_session=True,  # the terminal's signals are its user's business
            )
        ours.settimeout(START_TIMEOUT)
        self._socket = ours
        self.pid: Final = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has died."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it; what it has forked goes on.  Idempotent."""
        self._socket.close()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def start(
        self,
        words: Sequence[str],
        fds: Sequence[int],
        log: IO[bytes],
        environment: Mapping[str, str],
    ) -> warm_start.Child:
        """Start a hypervisor (``launch.Start``).

        Raises: HvsimError when the nursery has ended, or is ended as it does not answer, or when
            the machine has no more processes.
        """
        request = pack([list(words), list(fds), dict(environment)])
        try:
            rights.send(self._socket, [request], [*fds, log.fileno()])
            answer, pidfds = rights.receive(self._socket, _LARGEST, 1)
        except TimeoutError:
            self._process.kill()  # an answer that came now would be taken for that to the next
            self._process.wait()
            raise HvsimError(
                f"the process that starts labs did not answer within {START_TIMEOUT:g} s"
            ) from None
        except OSError as failure:
            raise HvsimError(f"the process that starts labs has ended: {failure}") from None
        if not answer:
            raise HvsimError("the process that starts labs has ended")
        if not pidfds:
            raise HvsimError(f"the process that starts labs cannot: {unpack(answer)[0]}")
        return warm_start.Child(int(unpack(answer)[0]), pidfds[0])


def serve(channel: socket.socket, preload: Sequence[str]) -> None:
    """Be the nursery, until the other end is closed."""
    warm_start.prepare(preload)
    gc.disable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    while True:
        try:
            request, fds = rights.receive(channel, _LARGEST, rights.MAX)
        except ConnectionResetError:  # its user has gone, with an answer unread
            return
        if not request:
            return
        words, numbers, environment = unpack(request)
        with contextlib.ExitStack() as stack:
            stack.callback(rights.close, fds)
            given = dict(zip([*numbers, 1], fds, strict=True))
            pidfds = []
            try:
                pid = warm_start.fork_hypervisor(words, {**given, 2: given[1]}, environment)
                pidfds.append(os.pidfd_open(pid))  # else it is told nothing, and ends by itself
                answer = pack([pid])
            except OSError as failure:
                answer = pack([shortage.words(failure)])
            stack.callback(rights.close, pidfds)
            try:
                rights.send(channel, [answer], pidfds)
            except OSError:
                return  # its user has gone; who has no boot config ends by itself


def main(argv: Sequence[str]) -> int:
    """The process; *argv* is as the text above says."""
    fd, *preload = argv
    with socket.socket(fileno=int(fd)) as channel:
        channel.set_inheritable(False)
        serve(channel, preload)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
