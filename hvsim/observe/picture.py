"""Taking the picture of a running lab (`model`): who is asked, and who else when he is silent.

It is asked from the toolstack, which nearly always answers at once.  When it does not, others are
asked who stands still (`witnesses`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.lab.answers import ControlError
from hvsim.linux import proc
from hvsim.observe.compose import composed
from hvsim.wire.control import Ps

if TYPE_CHECKING:
    from hvsim.lab.control import Control
    from hvsim.lab.rundir import RunDir
    from hvsim.observe.rows import Picture

AT_ONCE: Final = 0.1
"""Seconds that the toolstack has, before others are asked."""


def picture(
    run: RunDir, control: Control, *, full: bool = False, patience: float | None = None
) -> Picture:
    """The picture of the lab at `run`; with `full` what each domain holds and did last, as well,
    where the hypervisor can tell.  A toolstack that runs has *patience* seconds to answer, before
    others are asked (default: `witnesses.PATIENCE`)."""
    found = _at_once(run, control)
    if found is None:
        from hvsim.observe import witnesses  # seldom needed, and slow to import

        found = witnesses.picture(run, control, patience)
    if full and found["source"] != "/proc":
        from hvsim.observe.holdings import enter

        enter(run, found["domains"])
    return found


def _at_once(run: RunDir, control: Control) -> Picture | None:
    """The toolstack's own words; None when it is not there, stands still, or is not so quick."""
    toolstack, hypervisor = control.listener(), run.hypervisor
    if toolstack is None or hypervisor is None:
        return None
    if any(proc.state(pid) in proc.STOPPED for pid in (toolstack, hypervisor.pid)):
        return None
    try:
        return composed(run, dict(control.data(Ps(), patience=AT_ONCE) or {}), "toolstack")
    except ControlError:
        return None
