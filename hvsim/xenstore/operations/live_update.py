"""``CONTROL live-update``: when the store's program is to be replaced by another one.

    CONTROL live-update             the number of this life of the store
    CONTROL live-update -s [-F] [-t SECONDS]
                                    replace it, at the first moment without an open transaction;
                                    with -F at once, and after SECONDS (2) in any case
    CONTROL live-update -a          as the C daemon, when there is nothing to be given up

Another program (``live-update FILE``) or command line (``-c``) has no store of ours in it: that is
answered in words.
"""

from __future__ import annotations

from typing import Final

from hvsim.abi.errno import EINVAL
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.store import Store

DEFAULT_TIMEOUT: Final = 2.0
"""Seconds that open transactions have to end by themselves."""
_TIMEOUT_MAX: Final = 600
OURS_ALONE: Final = b"this store can only be replaced by itself: `hvsim xenstore live-update`\0"


def control(store: Store, arguments: list[bytes]) -> bytes:
    """``live-update``.  Raises Refused: EINVAL for other arguments; ENOSYS for a store without a
    journal."""
    if not arguments:
        return b"%d\0" % store.life
    if arguments == [b"-a"]:
        return b"OK\0"
    if arguments[0] == b"-c" or (len(arguments) == 1 and not arguments[0].startswith(b"-")):
        return OURS_ALONE
    timeout = DEFAULT_TIMEOUT
    start = False
    words = iter(arguments)
    for word in words:
        if word == b"-s":
            start = True
        elif word == b"-F":
            timeout = 0.0
        elif word == b"-t":
            seconds = next(words, b"")
            if not seconds.isdigit() or int(seconds) > _TIMEOUT_MAX:
                raise Refused(EINVAL)
            timeout = float(int(seconds))
        else:
            raise Refused(EINVAL)
    if not start:
        raise Refused(EINVAL)
    store.host.live_update(timeout)
    return b"OK\0"
