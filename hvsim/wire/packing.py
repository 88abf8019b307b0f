"""msgpack as every wire of ours speaks it: texts that came from the system survive it unchanged.

What a user types, the name of a directory, a variable of the environment: to Linux these are bytes.
Python shows those that are not UTF-8 as lone surrogates (PEP 383, ``os.fsencode``), and msgpack
refuses such texts unless it is told.  Here the bytes cross the wire as they were typed, and the
other side sees the same text.  Whoever unpacks checks what it got: the peer may be hostile.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgpack

from hvsim.wire.bad import BadMessage as BadMessage

ERRORS: Final = "surrogateescape"

MALFORMED: Final[tuple[type[Exception], ...]] = (ValueError, msgpack.UnpackException)
"""What ``unpack`` raises for bytes that are no message."""

pack: Final[Callable[[Any], bytes]] = partial(msgpack.packb, unicode_errors=ERRORS)
"""One message.  Raises TypeError, ValueError or OverflowError for what msgpack has no form for."""

unpack: Final[Callable[..., Any]] = partial(msgpack.unpackb, unicode_errors=ERRORS)
"""The value of one whole message; further options are msgpack's.  Raises one of ``MALFORMED``."""


def packer() -> Callable[[Any], bytes]:
    """A ``pack`` that keeps its buffer, for one who packs often; for one thread."""
    made: Callable[[Any], bytes] = msgpack.Packer(autoreset=True, unicode_errors=ERRORS).pack
    return made


def unpacker() -> Any:
    """A ``msgpack.Unpacker``, for a message whose parts are looked at one by one."""
    return msgpack.Unpacker(unicode_errors=ERRORS)
