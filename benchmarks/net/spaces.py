"""Network namespaces of a reference: they live and die with the processes in them.

Nothing is named in the file system and no interface of the machine is touched: a reference process
moves into a namespace of its own, forks a far end that does the same, and whatever was made there
goes with the last of them.
"""

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path

from pyroute2 import IPRoute

from hvsim.wire import rights

CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
PR_SET_PDEATHSIG = 1

TUNSETIFF = 0x4004_54CA
TUNSETOFFLOAD = 0x4004_54D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This reference cannot run on this machine; says why."""


def unshare(flags: int) -> None:
    """unshare(2).  Raises OSError."""
    if _libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def move_out() -> None:
    """Put this process into a network namespace of its own, as root there.

    Raises: Unavailable.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0))
        if uid:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise Unavailable(f"no network namespace of our own: {error}") from None


class FarEnd:
    """A process in a further network namespace, which only stays until this one ends.

    Attributes:
        pid: of that process.
    """

    def __init__(self, tap: str | None = None) -> None:
        """Fork it; with `tap` it makes a TAP of that name and hands its descriptor over."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            self._live(theirs, tap)
        theirs.close()
        self._wire = ours
        word, fds = rights.receive(ours, 200, 1)
        if word != b"ready":
            raise Unavailable(word.decode() or "the far end did not start")
        self.fd = fds[0] if fds else -1

    @property
    def prefix(self) -> list[str]:
        """Words before a command that is to run there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def configure(self, name: str, address: str) -> None:
        """Give its interface `name` an address and take it up."""
        self._wire.send(f"{name} {address}".encode())
        answer = self._wire.recv(200)
        if answer != b"done":
            raise Unavailable(answer.decode())

    def close(self) -> None:
        """End it.  Idempotent."""
        self._wire.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0

    @staticmethod
    def _live(wire: socket.socket, tap: str | None) -> None:
        code = 1
        try:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            unshare(CLONE_NEWNET)
            fds = [open_tap(tap)] if tap is not None else []
            rights.send(wire, [b"ready"], fds)
            while words := wire.recv(200).decode().split():
                up(*words)
                wire.send(b"done")
            code = 0
        except (OSError, Unavailable) as error:
            wire.send(str(error).encode()[:200])
        finally:
            sys.stdout.flush()
            os._exit(code)


def up(name: str, address: str = "") -> None:
    """Take an interface (and the loopback) up, with an address such as "10.9.0.1/24"."""
    with IPRoute() as route:
        for wanted in ("lo", name):
            (index,) = route.link_lookup(ifname=wanted)
            route.link("set", index=index, state="up")
        if address:
            host, _, bits = address.partition("/")
            route.addr("add", index=index, address=host, prefixlen=int(bits))


def open_tap(name: str) -> int:
    """A TAP that carries large segments and open checksums; its descriptor, non-blocking.

    Raises: Unavailable.
    """
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"/dev/net/tun: {error.strerror}") from None
    try:
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(fd, TUNSETIFF, request)
        fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
    except OSError as error:
        os.close(fd)
        raise Unavailable(f"no TAP: {error.strerror}") from None
    return fd


def veth(name: str, other: str, pid: int) -> None:
    """A veth pair: `name` here, `other` in the namespace of process `pid`."""
    with IPRoute() as route:
        route.link("add", ifname=name, kind="veth", peer={"ifname": other, "net_ns_pid": pid})


def remove(name: str) -> None:
    """Remove a link of this namespace, and its peer with it."""
    with IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)


def pump(one: int, two: int) -> None:
    """The plain Python pump: what comes out of one TAP goes into the other; for ever.

    Each read is one frame with its virtio_net_hdr, however large; nothing else is done to it.
    """
    other = {one: two, two: one}
    poll = select.epoll()
    for fd in other:
        poll.register(fd, select.EPOLLIN)
    read, write = os.read, os.write
    while True:
        for fd, _ in poll.poll():
            out = other[fd]
            try:
                while True:
                    write(out, read(fd, 70_000))
            except BlockingIOError:
                pass


def start_pump(one: int, two: int) -> int:
    """Run the pump in a process of its own that dies with this one; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            pump(one, two)
        finally:
            os._exit(1)
    return pid


def start_c_pump(program: str, mode: str, one: int, two: int) -> int:
    """The same with the C pump, which waits as `mode` says; its pid."""
    for fd in (one, two):
        os.set_blocking(fd, True)
    words = [program, mode, str(one), str(two)]
    pid = os.fork()
    if pid == 0:
        try:
            for fd in (one, two):
                os.set_inheritable(fd, True)
            os.execv(program, words)
        finally:
            os._exit(1)
    return pid
