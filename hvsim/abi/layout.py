"""How C lays a structure out, so that our layouts read like the header they mirror."""

import struct
from collections.abc import Sequence
from mmap import mmap
from types import MappingProxyType
from typing import Final

_SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "s": 1}


Place = bytearray | memoryview | mmap
"""What a structure is written into."""


class Structure:
    """A C structure in the x86-64 ABI: little endian, every member on its natural boundary.

    ``fields`` are ``(name, code)`` in the order of the header; ``code`` is a letter of
    :mod:`struct`, with a count before it for an array (``"8I"``) or for bytes (``"1024s"``).
    A member of structure type is written as bytes, with ``align`` raised if it needs it.
    Padding is worked out here and never written by hand.

    ``struct`` packs and unpacks the members (padding excluded, as zeros), ``size`` is
    ``sizeof`` and ``offsets`` is ``offsetof`` by name. A layout never changes.

    Raises :class:`ValueError` for a code that is no such letter or a name used twice.
    """

    __slots__ = ("name", "offsets", "size", "struct")

    def __init__(self, name: str, fields: Sequence[tuple[str, str]], *, align: int = 1) -> None:
        offsets: dict[str, int] = {}
        form = ["<"]
        position = 0
        for field, code in fields:
            unit = _SIZES.get(code[-1])
            if unit is None or field in offsets:
                raise ValueError(f"{name}.{field}: bad code {code!r} or name used twice")
            padding = -position % unit
            offsets[field] = position + padding
            form.append(f"{padding}x{code}" if padding else code)
            position += padding + unit * int(code[:-1] or "1")
            align = max(align, unit)
        tail = -position % align
        if tail:
            form.append(f"{tail}x")
        self.name: Final = name
        self.offsets: Final = MappingProxyType(offsets)
        self.struct: Final = struct.Struct("".join(form))
        self.size: Final = self.struct.size

    def pack(self, *values: int | bytes) -> bytes:
        """The members as the bytes of one structure."""
        return self.struct.pack(*values)

    def pack_into(self, buffer: Place, offset: int, *values: int | bytes) -> None:
        """Write the members into ``buffer`` at ``offset``; padding becomes zero."""
        self.struct.pack_into(buffer, offset, *values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.size} bytes, {self.struct.format!r}>"


class Layout(Structure):
    """A structure of numbers only.

    Raises :class:`ValueError` as well for members that are bytes: they are a :class:`ByteLayout`'s.
    """

    __slots__ = ()

    def __init__(self, name: str, fields: Sequence[tuple[str, str]], *, align: int = 1) -> None:
        super().__init__(name, fields, align=align)
        if "s" in self.struct.format:
            raise ValueError(f"{name}: bytes in a layout of numbers")

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """The members of a structure that was copied before; ``data`` is it and nothing else.

        Raises :class:`struct.error` for any other size.
        """
        return self.struct.unpack(data)

    def unpack_from(self, buffer: bytes | Place, offset: int = 0) -> tuple[int, ...]:
        """The members of the structure at ``offset``, copied out of ``buffer`` once."""
        return self.struct.unpack_from(buffer, offset)


class ByteLayout(Structure):
    """A structure with members that are bytes."""

    __slots__ = ()

    def unpack(self, data: bytes) -> tuple[int | bytes, ...]:
        """As :meth:`Layout.unpack`."""
        return self.struct.unpack(data)
