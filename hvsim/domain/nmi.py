"""What a domain does with an NMI (``xl trigger DOMAIN nmi``): it says where it is, and goes on.

Linux prints two lines and carries on; a domain of this host adds where its program stands, which is
what one wants to know of a domain that does not answer.  The NMI is a signal of its main process,
ignored from the spawner's start on, so that it can never end one that does not listen yet.

Source: Linux arch/x86/kernel/nmi.c (unknown_nmi_error).
"""

from __future__ import annotations

import signal
import traceback
from types import FrameType
from typing import TYPE_CHECKING, Final

from hvsim.abi.sched import NMI_SIGNAL

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain


_BUSY: Final = ("hvsim/domain/console.py", "hvsim/domain/ring.py")
"""Code that is not to be entered a second time from a signal handler."""
_START: Final = "hvsim/domain/start.py"


def ignore() -> None:
    """For the spawner: what it makes begins like this."""
    signal.signal(NMI_SIGNAL, signal.SIG_IGN)


def listen(domain: Domain) -> None:
    """Report each NMI on the domain's console from now on."""

    def arrived(number: int, frame: FrameType | None) -> None:
        stack = traceback.extract_stack(frame)
        lines = (
            "Uhhuh. NMI received for unknown reason 00 on CPU 0.",
            *"".join(traceback.format_list(stack[_first(stack) :])).splitlines(),
            "Dazed and confused, but trying to continue",
        )
        if any(entry.filename.endswith(_BUSY) for entry in stack):
            domain.vcpu.call_later(0.0, lambda: _say(domain, lines))
        else:
            _say(domain, lines)

    signal.signal(NMI_SIGNAL, arrived)


def _first(stack: traceback.StackSummary) -> int:
    """Where the domain's own program begins: what lies below made the process, and is all alike."""
    ours = [n for n, entry in enumerate(stack) if entry.filename.endswith(_START)]
    return ours[-1] + 1 if ours else 0


def _say(domain: Domain, lines: tuple[str, ...]) -> None:
    for line in lines:
        domain.log(line)
