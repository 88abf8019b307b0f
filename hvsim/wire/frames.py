"""Messages over a byte stream: each is preceded by its length, four bytes, little-endian.

Pure; used by the control wire.
"""

import struct
from typing import Final

_LENGTH: Final = struct.Struct("<I")


class TooLargeError(ValueError):
    """A message that is longer than is taken.  What follows it cannot be told apart from it.

    Attributes:
        size: bytes that it has.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"a message of {size} bytes")
        self.size = size


def framed(message: bytes) -> bytes:
    """The bytes that stand for *message* in the stream."""
    return _LENGTH.pack(len(message)) + message


class Frames:
    """What has come of a stream, and the messages in it.

    Args:
        limit: bytes of a message at most; None: as many as come.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._data += data

    @property
    def ready(self) -> bool:
        """Whether ``take`` would have something to say."""
        if len(self._data) < _LENGTH.size:
            return False
        (size,) = _LENGTH.unpack_from(self._data)
        return len(self._data) >= _LENGTH.size + size or not self._fits(size)

    def take(self) -> bytes | None:
        """The next message, None when it is not there yet.  Raises: TooLargeError."""
        data = self._data
        if len(data) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(data)
        if not self._fits(size):
            raise TooLargeError(size)
        end = _LENGTH.size + size
        if len(data) < end:
            return None
        message = bytes(data[_LENGTH.size : end])
        del data[:end]
        return message

    def _fits(self, size: int) -> bool:
        return self._limit is None or size <= self._limit
