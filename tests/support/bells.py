"""Looking at doorbells (``hvsim.wire.doorbell``) from a test: what epoll would tell, and counts."""

import os
import re
import select
from pathlib import Path

from hvsim.wire import doorbell

make, ring = doorbell.make, doorbell.ring


def heard(fd: int, timeout: float = 0.0) -> bool:
    """Whether a bell was rung since it was made or last silenced, at once or within a bound."""
    return bool(select.select([], [fd], [], timeout)[1])


def count(fd: int) -> int:
    """How often it was rung."""
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    found = re.search(r"^eventfd-count: *([0-9a-f]+)$", text, re.MULTILINE)
    assert found, text
    return doorbell.FULL - int(found[1], 16)


def silence(fd: int) -> int:
    """Make it as if it had never been rung; returns how often it was."""
    rings = count(fd)
    if rings:
        os.eventfd_write(fd, rings)
    return rings
