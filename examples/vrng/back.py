"""vrng, the driver domain's half: answers each request with sixteen random bytes."""

import os

from hvsim.drivers.split.one_ring import RingBack


def back(dom):
    return RingBack(dom, 4, 16, lambda request: os.urandom(16))
