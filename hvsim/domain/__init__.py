"""What every domain stands on: the mini-OS.

One thread, one wait.  A program is ``def main(dom: Domain) -> None``; everything it may use hangs
on *dom*.

The names below are loaded when they are first used: the ring, say, is also of use to who has no
domain, and a process should touch no more memory than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.events import EventChannels
    from hvsim.domain.grants import GrantInUse, GrantTable, GrantTableFull
    from hvsim.domain.hypercall import HypercallError, Hypercalls
    from hvsim.domain.mapper import GrantError, GrantMapper, Mapping
    from hvsim.domain.memory import Extent, Memory
    from hvsim.domain.timers import Timer
    from hvsim.domain.vcpu import VCPU
    from hvsim.errors import TimedOut

__all__ = [
    "VCPU",
    "Domain",
    "EventChannels",
    "Extent",
    "GrantError",
    "GrantInUse",
    "GrantMapper",
    "GrantTable",
    "GrantTableFull",
    "HypercallError",
    "Hypercalls",
    "Mapping",
    "Memory",
    "TimedOut",
    "Timer",
]

_HOMES = {
    "domain": ("Domain",),
    "events": ("EventChannels",),
    "grants": ("GrantInUse", "GrantTable", "GrantTableFull"),
    "hypercall": ("HypercallError", "Hypercalls"),
    "mapper": ("GrantError", "GrantMapper", "Mapping"),
    "memory": ("Extent", "Memory"),
    "timers": ("Timer",),
    "vcpu": ("VCPU", "TimedOut"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
