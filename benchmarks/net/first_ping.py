"""``python first_ping.py PID ADDRESS``: when ADDRESS answers the first of many pings, in seconds of
the machine's monotonic clock.

They are sent in the network namespace of process PID, which is entered together with its user
namespace by whoever is not root.  There an ordinary user is nobody, and has the right to a raw
socket only until the next program is executed: so this is no job for nsenter and ping.  Source:
RFC 792, setns(2).
"""

import ctypes
import os
import select
import socket
import struct
import sys
import time

INTERVAL = 0.01
PATIENCE = 10.0
ECHO, ECHO_REPLY = 8, 0
IDENTIFIER = 0x4856


def enter(pid: int) -> None:
    """Move into the network of a process.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("net",) if os.geteuid() == 0 else ("user", "net"):
        namespace = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(namespace, 0):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}", kind)
        os.close(namespace)


def echo(number: int) -> bytes:
    """An echo request with its checksum."""
    words = (ECHO << 8, IDENTIFIER, number & 0xFFFF)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!4H", words[0], ~total & 0xFFFF, *words[1:])


def first_answer(address: str) -> float:
    """When it came; asked for every INTERVAL.

    Raises TimeoutError after PATIENCE seconds without an answer.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        wire.connect((address, 0))
        begun = time.monotonic()
        number = 0
        while (now := time.monotonic() - begun) < PATIENCE:
            if now >= number * INTERVAL:
                number += 1
                wire.send(echo(number))
            if not select.select([wire], [], [], max(0.0, number * INTERVAL - now))[0]:
                continue
            packet = wire.recv(2048)
            header = (packet[0] & 0xF) * 4
            kind, _, _, identifier = struct.unpack_from("!BBHH", packet, header)
            if (kind, identifier) == (ECHO_REPLY, IDENTIFIER):
                return time.monotonic()
    raise TimeoutError(f"{address} did not answer within {PATIENCE:g} s")


if __name__ == "__main__":
    enter(int(sys.argv[1]))
    print(first_answer(sys.argv[2]))
