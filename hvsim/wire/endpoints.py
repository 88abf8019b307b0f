"""ZeroMQ sockets below a run directory: their addresses, and what goes through them at most."""

import os
from typing import Any, Final

MESSAGE_MAX: Final = 4 << 20
"""Bytes of a request to the toolstack, which hangs up on who sends more."""


def endpoint(address: str) -> Any:
    """*address* for ``bind`` and ``connect``: as bytes, which pyzmq takes and its types do not say.

    A text it would encode as strict UTF-8, and a run directory's name may be any bytes.
    """
    return os.fsencode(address)
