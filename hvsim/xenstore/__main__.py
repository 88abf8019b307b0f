"""A store that stands alone, without a hypervisor: for authors of clients and for tests.

    python -m hvsim.xenstore --socket /tmp/store/socket
    XENSTORED_PATH=/tmp/store/socket xenstore-ls

Ends at SIGTERM or SIGINT and removes its socket.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from hvsim.domain import clock
from hvsim.domain.vcpu import VCPU
from hvsim.speak import note
from hvsim.surroundings import prepare
from hvsim.xenstore.daemon.daemon import open_trace
from hvsim.xenstore.daemon.server import SocketServer
from hvsim.xenstore.rules.store import Store


def serve(path: str, trace_path: str | None, ready_fd: int | None = None) -> int:
    """Serve at *path* until a signal; returns the exit status."""
    vcpu = VCPU(clock.machine)  # there is no hypervisor whose time it could be
    trace = open_trace(trace_path, vcpu.now) if trace_path else None
    try:
        server = SocketServer(path, Store(), vcpu, trace)
    except OSError as error:
        note(f"xenstore: {error.filename}: {error.strerror}")
        return 1
    stop_read, stop_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stopped: list[int] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        os.write(stop_write, b"x")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    vcpu.add_fd(stop_read, lambda: stopped.append(1))
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    while not stopped:
        vcpu.block()
        vcpu.dispatch()
        if trace is not None:
            trace.flush()
    server.close()
    vcpu.close()
    os.close(stop_read)
    os.close(stop_write)
    if trace is not None:
        trace.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the lone store."""
    parser = argparse.ArgumentParser(
        prog="python -m hvsim.xenstore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--socket", required=True, help="where to listen")
    parser.add_argument("--trace", help="file for one JSON line per request and event")
    parser.add_argument(
        "--ready-fd",
        type=int,
        help="inherited descriptor that gets 'ready' once clients can connect",
    )
    options = parser.parse_args(argv)
    return serve(options.socket, options.trace, options.ready_fd)


if __name__ == "__main__":
    prepare()
    sys.exit(main())
