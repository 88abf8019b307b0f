"""ZeroMQ addresses below a run directory, whose name may be any bytes."""

import os
from typing import Any


def endpoint(address: str) -> Any:
    """*address* for ``bind`` and ``connect``: as bytes, which pyzmq takes and its types do not say.

    A text it would encode as strict UTF-8, and a directory's name need not be that.
    """
    return os.fsencode(address)
