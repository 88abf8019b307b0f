"""What runs behind the walls in tests/net/test_walls.py, in place of a domain's runtime."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import msgpack

from hvsim.drivers.net.link import Kind, open_link
from hvsim.drivers.net.links import Links
from hvsim.linux import syscalls


def run(conn_fd: int, _upcall_fd: int, _spec: dict[str, Any]) -> None:
    """Try everything; answer with the outcomes by name."""
    stream = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    found = {
        "tap": _outcome(_link, "tap"),
        "packet": _outcome(_link, "packet"),
        "tcp": _outcome(_tcp),
        "udp": _outcome(_udp),
        "unix": _outcome(socket.socket, socket.AF_UNIX, stream),
        "unix datagram pair": _outcome(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM),
        "generic netlink": _outcome(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 16),
        "netfilter": _outcome(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "vsock": _outcome(socket.socket, socket.AF_VSOCK, stream),
        "unshare": _outcome(syscalls.syscall, "unshare", 0x4000_0000),
        "mount": _outcome(syscalls.syscall, "mount", 0, 0, 0, 0, 0),
        "passwd": _outcome(open, "/etc/passwd"),
        "other device": _outcome(open, "/dev/tty", "rb"),
        "links": _outcome(_names),
    }
    os.write(conn_fd, msgpack.packb(found))


def _outcome(call: Callable[..., Any], *arguments: Any) -> str:
    """What it said, or the name of the errno that it failed with."""
    try:
        result = call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return result if isinstance(result, str) else "ok"


def _names() -> str:
    links = Links()
    found = " ".join(link.name for link in links.all())
    links.close()
    return found


def _link(kind: Kind) -> str:
    links = Links()
    links.set("lo", up=True)
    link = open_link(links, "eth0", kinds=[kind])
    links.set("eth0", up=True)
    link.set_carrier(True)
    link.close()
    links.close()
    return "ok"


def _tcp() -> str:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    with (
        socket.socket(socket.AF_INET, kind) as server,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        server.bind(("127.0.0.1", 80))
        server.listen()
        client.connect(("127.0.0.1", 80))
        client.sendall(b"ok")
        with server.accept()[0] as accepted:
            return accepted.recv(10).decode()


def _udp() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"ok", sock.getsockname())
        return sock.recv(10).decode()
