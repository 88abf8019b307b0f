"""A loop on a thread, for servers that a test talks to through real sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hvsim.domain.vcpu import VCPU


@contextmanager
def serving(vcpu: VCPU) -> Iterator[None]:
    """Dispatch *vcpu* on a thread of its own within the block."""
    stop_read, stop_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stopped: list[int] = []
    vcpu.add_fd(stop_read, lambda: stopped.append(1))

    def serve() -> None:
        while not stopped:
            vcpu.block()
            vcpu.dispatch()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.write(stop_write, b"x")
        thread.join(30)
        vcpu.remove_fd(stop_read)
        os.close(stop_read)
        os.close(stop_write)
    assert not thread.is_alive()
