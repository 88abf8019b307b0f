"""A spawner whose processes only exist: their wires go to the test that wants to be the domain.

It speaks the spawner's wire to the hypervisor. For each spawn it forks a child that sleeps, and
sends (pid, spec) with the two descriptors to the test's abstract socket. Everything ends with the
hypervisor's end of the wire.
"""

import argparse
import contextlib
import mmap
import os
import select
import signal
import socket
from typing import NoReturn

import msgpack

from hvsim.wire import rights


def _live(program: str) -> NoReturn:
    """Wait to be killed; "count FILE": count in the first 8 bytes of FILE without rest."""
    if program.startswith("count "):
        with open(program.removeprefix("count "), "r+b") as file:
            words = memoryview(mmap.mmap(file.fileno(), 4096)).cast("Q")
        while True:
            words[0] += 1
    while True:
        signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--relay", required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    channel = socket.socket(fileno=options.fd)
    relay = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    relay.connect(f"\0{options.relay}")
    children: dict[int, int] = {}  # pidfd -> pid
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                poll.unregister(fd)
                pid, status = os.waitpid(children.pop(fd), 0)
                os.close(fd)
                with contextlib.suppress(BrokenPipeError):
                    channel.send(msgpack.packb(["exited", pid, status]))
                continue
            try:
                data, fds = rights.receive(channel, 1 << 17, 2)
            except ConnectionResetError:  # the hypervisor left with a message of ours unread
                data, fds = b"", []
            if not data:
                for pid in children.values():
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                return
            _, token, spec = msgpack.unpackb(data)
            if spec.get("program") == "fail":
                channel.send(msgpack.packb(["failed", token, "told to fail"]))
            else:
                pid = os.fork()
                if pid == 0:
                    os.closerange(3, 1024)
                    _live(spec.get("program", ""))
                pidfd = os.pidfd_open(pid)
                children[pidfd] = pid
                poll.register(pidfd, select.POLLIN)
                rights.send(channel, [msgpack.packb(["spawned", token, pid, []])], [pidfd])
                rights.send(relay, [msgpack.packb([pid, spec])], fds)
            for one in fds:
                os.close(one)


if __name__ == "__main__":
    main()
