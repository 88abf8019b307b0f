"""The wall clock of the host: what a person's calendar says.

Everything that waits or measures reads the loop's clock, which is the vCPU's.
"""

import time


def wall() -> float:
    """Seconds since the epoch."""
    return time.time()
