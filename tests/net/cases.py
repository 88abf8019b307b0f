"""What the tests of links do inside a namespace of their own (tests/net/inside.py)."""

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from hvsim.drivers.net.link import VNET_HEADER, Kind, Link, NoLink, open_link
from hvsim.drivers.net.links import Links
from hvsim.names.mac import bytes_of as mac_bytes
from hvsim.wire import rights
from tests.net.inside import own_network

MAC = "00:16:3e:00:00:01"
PEER_MAC = mac_bytes("00:16:3e:00:00:02")
BYTES = 16 << 20
GIVE_UP = 20.0


def opened(kind: Kind, address: str = "10.9.0.1/24") -> tuple[Links, Link]:
    """eth0 with an address, switched on, with carrier."""
    links = Links()
    links.set("lo", up=True)
    link = open_link(links, "eth0", mac=MAC, kinds=[kind])
    links.add_address("eth0", address)
    links.set("eth0", up=True, autoconfigure=False)
    link.set_carrier(True)
    return links, link


def read(
    link: Link,
    wanted: Callable[[bytes], bool],
    again: Callable[[], object] = lambda: None,
) -> tuple[bytes, bytes]:
    """(header, frame) of the next frame that is wanted; others are passed over.

    ``again`` is called until it comes.
    """
    deadline = time.monotonic() + GIVE_UP
    while time.monotonic() < deadline:
        again()
        if select.select([link], [], [], 0.1)[0]:
            data = os.read(link.fd, 1 << 17)
            if wanted(data[VNET_HEADER:]):
                return data[:VNET_HEADER], data[VNET_HEADER:]
    raise AssertionError("no such frame came")


def is_kind(ethertype: int) -> Callable[[bytes], bool]:
    return lambda frame: frame[12:14] == struct.pack("!H", ethertype)


def one_datagram(kind: Kind) -> dict[str, Any]:
    """The stack asks who has 10.9.0.2, is told, and sends its datagram without a checksum; then
    gets one of ours."""
    _, link = opened(kind)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.9.0.1", 4000))
        sock.sendto(b"hello there", ("10.9.0.2", 9))
        _, arp = read(link, is_kind(0x0806))
        answer = MACS[0] + PEER_MAC + arp[12:20] + b"\0\2" + PEER_MAC + arp[38:42] + arp[22:32]
        os.write(link.fd, bytes(VNET_HEADER) + answer)
        header, frame = read(link, lambda one: b"hello there" in one)
        # The same back, addresses and ports swapped; the sums stay right.
        ip, udp = frame[14:34], frame[34:42]
        back = PEER_MAC[:0] + MACS[0] + PEER_MAC + frame[12:14]
        back += ip[:12] + ip[16:20] + ip[12:16] + udp[2:4] + udp[:2] + udp[4:6] + b"\0\0"
        os.write(link.fd, bytes(VNET_HEADER) + back + b"hello there")
        sock.settimeout(GIVE_UP)
        data, peer = sock.recvfrom(100)
    flags, _, _, _, start, offset = struct.unpack("<BBHHHH", header)
    figures = link.statistics()
    return {
        "partial": bool(flags & 1),
        "start": start,
        "offset": offset,
        "source": frame[6:12].hex(":"),
        "back": data.decode(),
        "peer": peer,
        "seen": figures["tx_packets"] >= 2 and figures["rx_packets"] >= 2,
    }


MACS = (mac_bytes(MAC), PEER_MAC)


def vlan(kind: Kind) -> dict[str, Any]:
    """A frame of VLAN 5 from the stack to us, and another back."""
    _, link = opened(kind)
    tag = bytes.fromhex("8100a005")
    inner = bytes.fromhex("88b5") + b"tagged".ljust(60, b".")
    frame = PEER_MAC + mac_bytes(MAC) + tag + inner
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with raw:
        raw.setsockopt(263, 8, 1)  # PACKET_AUXDATA
        raw.bind(("eth0", 3))

        def tagged(found: bytes) -> bool:
            return found[12:14] == tag[:2]

        def send() -> None:
            raw.send(frame)  # again: the link may not be up yet

        if link.tagged is None:
            _, came = read(link, tagged, send)
        else:
            deadline = time.monotonic() + GIVE_UP
            while not select.select([link.tagged.fd], [], [], 0.1)[0]:
                send()
                assert time.monotonic() < deadline
            _, came = link.tagged.read() or (b"", b"")
            assert not any(tagged(one) for one in _all(link))
        # The other way: our own socket hears what the stack gets.
        back = mac_bytes(MAC) + PEER_MAC + tag + inner
        os.write(link.fd, bytes(VNET_HEADER) + back)
        deadline = time.monotonic() + GIVE_UP
        tci = 0
        while not tci and time.monotonic() < deadline:
            data, ancillary, _, _ = raw.recvmsg(2000, 100)
            for _, _, aux in ancillary:
                if data.startswith(mac_bytes(MAC)) and b"tagged" in data:
                    tci = struct.unpack_from("=IIIHHHH", aux)[5]
    return {"same": came == frame, "tci": tci}


def _all(link: Link) -> Iterator[bytes]:
    while select.select([link], [], [], 0)[0]:
        yield os.read(link.fd, 1 << 17)[VNET_HEADER:]


def bulk(kind: Kind) -> dict[str, Any]:
    """16 MiB over TCP between two stacks, with this process carrying the frames."""
    _, near = opened(kind)
    server = socket.create_server(("10.9.0.1", 5001))
    told, tell = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    far_pid = os.fork()
    if far_pid == 0:
        _far_side(kind, tell)
    client_pid = os.fork()
    if client_pid == 0:
        _receive_all(server)
    tell.close()
    _, fds = rights.receive(told, 16, 1)
    large = {near.fd: 0, fds[0]: 0}
    partial = dict(large)
    poll = select.poll()
    for fd in large:
        poll.register(fd, select.POLLIN)
    other = {near.fd: fds[0], fds[0]: near.fd}
    deadline = time.monotonic() + GIVE_UP
    status = None
    while status is None and time.monotonic() < deadline:
        for fd, _ in poll.poll(50):
            for _ in range(64):
                try:
                    data = os.read(fd, 1 << 17)
                except OSError:
                    break
                large[fd] += len(data) > VNET_HEADER + 1514
                partial[fd] += data[0] & 1
                try:
                    os.write(other[fd], data)
                except OSError:
                    continue
        pid, code = os.waitpid(client_pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if pid else None
    os.kill(far_pid, signal.SIGKILL)
    os.waitpid(far_pid, 0)
    return {"status": status, "large": large[fds[0]], "partial": min(partial.values())}


def _far_side(kind: Kind, tell: socket.socket) -> None:
    """Another stack, whose link goes to the parent; sends."""
    own_network()
    links, link = opened(kind, "10.9.0.2/24")
    links.set("eth0", mac="00:16:3e:00:00:02")
    rights.send(tell, [b"x"], [link.fd])
    with socket.create_connection(("10.9.0.1", 5001), timeout=GIVE_UP) as sock:
        pattern = bytes(range(256)) * 256
        for _ in range(BYTES // len(pattern)):
            sock.sendall(pattern)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        time.sleep(GIVE_UP)


def _receive_all(server: socket.socket) -> None:
    """Exits 0 when every byte came."""
    server.settimeout(GIVE_UP)
    connection, _ = server.accept()
    connection.settimeout(GIVE_UP)
    pattern = bytes(range(256)) * 256
    data = bytearray()
    while piece := connection.recv(1 << 20):
        data += piece
    os._exit(0 if data == pattern * (BYTES // len(pattern)) else 1)


def carrier(kind: Kind) -> dict[str, Any]:
    """What the stack sees of its carrier, and what the link says meanwhile."""
    links, link = opened(kind)
    seen = [links.get("eth0").carrier]
    link.set_carrier(False)
    seen.append(links.get("eth0").carrier)
    try:
        os.read(link.fd, 1 << 17)
        down = "read"
    except OSError as error:
        down = str(error.strerror)
    while True:  # what came before
        try:
            os.read(link.fd, 1 << 17)
        except OSError:
            break
    link.set_carrier(True)
    seen.append(links.get("eth0").carrier)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.9.0.2", 9))
        read(link, is_kind(0x0806))
    link.set_mtu(9000)
    mtu = links.get("eth0").mtu
    names = [link.name for link in links.all()]
    link.close()
    link.close()
    return {
        "seen": seen,
        "down": down,
        "mtu": mtu,
        "mac": MAC,
        "names": names,
        "after": [link.name for link in links.all()],
    }


def offloads(kind: Kind) -> dict[str, Any]:
    """A stack that may leave nothing to us sends sums, and no frame above its MTU."""
    _, link = opened(kind)
    link.set_offloads(checksum=False, tso4=False, tso6=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        header, frame = read(
            link,
            lambda one: b"hello there" in one,
            # A link that has just got its carrier drops until the kernel has seen to that.
            lambda: sock.sendto(b"hello there", ("10.9.0.255", 9)),
        )
    return {"flags": header[0], "sum": frame[40:42].hex()}


def refusals(kind: Kind) -> dict[str, str]:
    """What is said to names that cannot be, and where no link is to be had."""
    links = Links()
    found = {}
    for name in ("", "a-name-of-sixteen"):
        try:
            open_link(links, name)
        except OSError as error:
            found[name] = str(error.strerror)
    first = open_link(links, "eth0")
    try:
        open_link(links, "eth0", kinds=[kind])
    except OSError as error:
        found["twice"] = str(error)
    first.close()
    try:
        open_link(links, "eth0", mac="00:16:3e")
    except ValueError as error:
        found["mac"] = str(error)
    found["left"] = ",".join(link.name for link in links.all())
    return found


def no_link() -> str:
    """Without the right to make links."""
    from hvsim.spawn.sandbox import capabilities

    links = Links()
    capabilities.drop()
    try:
        open_link(links, "eth0")
    except NoLink as error:
        return str(error)
    return "a link"


def bridge() -> dict[str, Any]:
    """A bridge with a link, addresses and a route, as pyroute2 sees them."""
    from pyroute2 import IPRoute

    links = Links()
    links.add_bridge("xenbr0")
    links.add_bridge("xenbr0")
    links.set("xenbr0", up=True)
    links.add_address("xenbr0", "10.9.0.1/24")
    links.add_address("xenbr0", "10.9.0.1/24")
    links.add_address("xenbr0", "fd00::1/64")
    links.add_default_route("xenbr0", "10.9.0.254")
    links.add_default_route("xenbr0", "10.9.0.253")
    link = open_link(links, "vif1.0", mac="fe:ff:ff:ff:ff:ff", mtu=1400)
    links.set("vif1.0", master="xenbr0", up=True)
    with IPRoute() as route:
        by_name = {link.get("ifname"): link for link in route.get_links()}
        addresses = sorted(
            f"{one.get('local') or one.get('address')}/{one['prefixlen']}"
            for one in route.get_addr(index=by_name["xenbr0"]["index"])
        )
        gateways = [one.get("gateway") for one in route.get_default_routes()]
        found = {
            "kind": by_name["xenbr0"].get("linkinfo").get("kind"),
            "master": by_name["vif1.0"].get("master") == by_name["xenbr0"]["index"],
            "mac": by_name["vif1.0"].get("address"),
            "mtu": by_name["vif1.0"].get("mtu"),
            "addresses": [one for one in addresses if not one.startswith("fe80")],
            "gateways": gateways,
        }
    links.set("vif1.0", master="")
    found["freed"] = links.get("vif1.0").master
    link.close()
    links.delete("xenbr0")
    links.delete("xenbr0")
    found["after"] = [link.name for link in links.all()]
    return found
