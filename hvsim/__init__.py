"""hvsim: a Xen host made of ordinary Linux processes.

One process is the hypervisor, one is xenstored, every domain is one more. They speak the public
Xen ABI to each other; ARCHITECTURE.md describes how.
"""

import os
import sys
from typing import Final

__version__ = "0.1.0"


def _beside() -> str:
    here = os.path.dirname(os.path.abspath(__file__))
    shipped = os.path.join(here, "shipped")  # setup.py, `Modules`
    return shipped if os.path.isdir(shipped) else os.path.dirname(here)


TREE: Final = _beside()
"""Where `domains/` and `configs/` lie: the root of a checkout, and hvsim/shipped where a wheel was
installed, so that nothing but `hvsim` is at the top level there."""

# A lab file names programs as "domains.guests.idle:main", wherever that lies.  Last, so that it
# hides nobody's module.
if TREE not in sys.path:
    sys.path.append(TREE)
