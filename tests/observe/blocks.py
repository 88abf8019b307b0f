"""A strict reader of pcapng, for tests: what is not in order raises."""

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    kind: int
    body: bytes
    options: list[tuple[int, bytes]]

    def option(self, code: int) -> bytes:
        (value,) = [value for found, value in self.options if found == code]
        return value

    @property
    def data(self) -> bytes:
        """Of a packet."""
        assert self.kind == 6
        kept = int.from_bytes(self.body[12:16], "little")
        return self.body[20 : 20 + kept]

    @property
    def length(self) -> int:
        """Of a packet, on its way."""
        assert self.kind == 6
        return int.from_bytes(self.body[16:20], "little")

    @property
    def time_ns(self) -> int:
        """Of a packet or statistics."""
        high, low = struct.unpack_from("<II", self.body, 4)
        return int(high) << 32 | int(low)

    @property
    def flags(self) -> int:
        """Of a packet."""
        return int.from_bytes(self.option(2), "little")


def blocks(data: bytes) -> list[Block]:
    """Every block of a file."""
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert 12 <= length <= len(data)
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        inner = data[8 : length - 4]
        size = _body(kind, inner)
        found.append(Block(kind, inner[:size], _options(inner[size:])))
        data = data[length:]
    assert found[0].kind == 0x0A0D0D0A
    return found


def _body(kind: int, inner: bytes) -> int:
    fixed = {0x0A0D0D0A: 16, 1: 8, 5: 12, 6: 20}[kind]
    if kind != 6:
        return fixed
    kept = int.from_bytes(inner[12:16], "little")
    assert not any(inner[fixed + kept : fixed + (kept + 3) // 4 * 4]), "padding is zero"
    return fixed + (kept + 3) // 4 * 4


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while data:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            assert (length, len(data)) == (0, 4)
            return found
        found.append((code, data[4 : 4 + length]))
        data = data[4 + (length + 3) // 4 * 4 :]
    assert not found, "options end with their end"
    return found
