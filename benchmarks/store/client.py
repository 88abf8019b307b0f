"""A thin client of any store, to furnish it; what is measured is done by c/storeload.c."""

import socket
from types import TracebackType

from hvsim.abi import xs_wire

_HEADER = xs_wire.XSD_SOCKMSG.struct
_RECV = 65536


def request(type: int, *parts: str, tx: int = 0) -> bytes:
    """A request with NUL-terminated arguments; of XS_WRITE, the value goes without."""
    payload = b"".join(part.encode() + b"\0" for part in parts)
    if type == xs_wire.XS_WRITE:
        payload = payload[:-1]
    return _HEADER.pack(type, 1, tx, len(payload)) + payload


class Client:
    """One blocking connection; a context manager."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def ask(self, message: bytes) -> bytes:
        """Send a request; its reply, header and all.  Raises ConnectionError."""
        self.socket.sendall(message)
        return self.answer(message[0])

    def answer(self, type: int) -> bytes:
        """The next message, which must be one of `type`.  Raises ConnectionError."""
        receive = self.socket.recv
        data = receive(_RECV)
        while len(data) < 16 or len(data) < 16 + int.from_bytes(data[12:16], "little"):
            more = receive(_RECV)
            if not more:
                raise ConnectionError("the store has closed the connection")
            data += more
        if data[0] != type:
            raise ConnectionError(f"asked {type}, answered {data[:64]!r}")
        return data

    def write(self, path: str, value: str) -> None:
        """Set one node."""
        self.ask(request(xs_wire.XS_WRITE, path, value))

    def write_many(self, paths: list[str]) -> None:
        """Make nodes, a hundred at a time on the wire."""
        for first in range(0, len(paths), 100):
            some = paths[first : first + 100]
            self.socket.sendall(b"".join(request(xs_wire.XS_WRITE, path, "value") for path in some))
            missing = len(some) * 19  # a header and "OK\0" each
            while missing:
                missing -= len(self.socket.recv(min(missing, _RECV)))
