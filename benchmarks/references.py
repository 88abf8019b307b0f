"""The yardsticks: raw kernel primitives between two plain processes, nothing else in the way."""

import os
import socket
import time
from collections.abc import Callable


def _with_peer(serve: Callable[[], None], drive: Callable[[], None], trips: int) -> float:
    """Fork a peer that runs `serve`, time `drive` in this process; seconds per trip."""
    pid = os.fork()
    if pid == 0:
        try:
            serve()
        finally:
            os._exit(0)
    try:
        start = time.perf_counter()
        drive()
        return (time.perf_counter() - start) / trips
    finally:
        os.waitpid(pid, 0)


def eventfd_ping_pong(trips: int = 20_000) -> float:
    """Two processes, two blocking eventfds: seconds per round trip."""
    there, back = os.eventfd(0, os.EFD_CLOEXEC), os.eventfd(0, os.EFD_CLOEXEC)

    def serve() -> None:
        for _ in range(trips):
            os.eventfd_read(there)
            os.eventfd_write(back, 1)

    def drive() -> None:
        for _ in range(trips):
            os.eventfd_write(there, 1)
            os.eventfd_read(back)

    try:
        return _with_peer(serve, drive, trips)
    finally:
        os.close(there)
        os.close(back)


def seqpacket_ping_pong(trips: int = 20_000, size: int = 24) -> float:
    """Two processes on a SOCK_SEQPACKET pair, `size` bytes each way: seconds per round trip."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    payload = bytes(size)

    def serve() -> None:
        for _ in range(trips):
            far.send(far.recv(4096))

    def drive() -> None:
        for _ in range(trips):
            near.send(payload)
            near.recv(4096)

    with near, far:
        return _with_peer(serve, drive, trips)
