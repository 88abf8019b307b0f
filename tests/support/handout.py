"""A spawner that hands the descriptors of new domain processes to a test instead of a program.

``python -m tests.support.handout SOCKET --fd N``: for every spawn request the connection and the
upcall go, with the specification, to the listening socket SOCKET; a child that only waits stands
for the process, so that killing and reaping are real.  When the specification names a program
("module:function") the child runs that instead, as the real spawner's would, but without walls.
"""

import os
import select
import signal
import socket
import sys
from typing import Any

import msgpack

from hvsim.domain.start import run
from hvsim.wire import rights
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read


def main() -> None:
    """Serve until the hypervisor closes the channel, or is killed."""
    channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    test = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    test.connect(sys.argv[1])
    children: dict[int, int] = {}  # pidfd -> pid
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    try:
        while True:
            for fd, _ in poll.poll():
                if fd in children:
                    pid = children.pop(fd)
                    poll.unregister(fd)
                    os.close(fd)
                    status = os.waitpid(pid, 0)[1]
                    channel.send(msgpack.packb(["exited", pid, status]))
                    continue
                data, fds = rights.receive(channel, 1 << 16, 4)
                if not data:
                    return
                _, token, spec = msgpack.unpackb(data)
                ours = [channel.fileno(), test.fileno(), *children]
                runs = ":" in spec.get("program", "")
                pidfd, pid = _program(ours, fds, spec) if runs else _child([*ours, *fds])
                children[pidfd] = pid
                poll.register(pidfd, select.POLLIN)
                if not runs:
                    rights.send(test, [msgpack.packb(spec)], fds)
                for fd in fds:
                    os.close(fd)
                told = msgpack.packb(["spawned", token, pid, []])
                rights.send(channel, [told], [pidfd])
    except ConnectionError:
        return  # the hypervisor, or the test, was killed
    finally:
        for pid in children.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _child(fds: list[int]) -> tuple[int, int]:
    """(pidfd, pid) of a process without *fds* that waits to be killed."""
    pid = os.fork()
    if pid == 0:
        for fd in fds:
            os.close(fd)
        while True:
            signal.pause()
    return os.pidfd_open(pid), pid


def _program(ours: list[int], fds: list[int], spec: dict[str, Any]) -> tuple[int, int]:
    """(pidfd, pid) of a process that runs the program of *spec*."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for fd in ours:
                os.close(fd)
            run(fds[0], fds[1], read(Spawn, spec))
        except SystemExit as leave:
            status = int(leave.code or 0)
        finally:
            os._exit(status)
    return os.pidfd_open(pid), pid


if __name__ == "__main__":
    main()
