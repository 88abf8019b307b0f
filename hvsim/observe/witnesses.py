"""The picture of a lab whose toolstack does not answer at once: who stands still is found first.

The hypervisor and the store are asked instead (`bystanders`), and when the hypervisor stands still,
/proc; a toolstack that is found to run gets its time.
"""

from typing import Final

from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.door import DoorError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.observe import bystanders
from hvsim.observe.compose import composed, hypervisor, process
from hvsim.observe.rows import Picture
from hvsim.toolstack.host.parts import HYPERVISOR
from hvsim.toolstack.host.trouble import Census, Trouble
from hvsim.wire.control import Ps

PATIENCE: Final = 2.0
"""Seconds that a toolstack which runs has to answer, before others are asked."""


def picture(run: RunDir, control: Control, patience: float | None = None) -> Picture:
    """As far as it can be told."""
    inquiry = Inquiry(run)
    still = inquiry.hypervisor()
    if still is None:
        try:
            census = inquiry.census()
        except DoorError as silent:
            still = inquiry.hypervisor() or Trouble(HYPERVISOR, "silent", str(silent), True)
    if still is not None:
        return _from_proc(run, inquiry, still)
    why = _why_silent(inquiry, census)
    if not why:
        try:
            found = dict(
                control.data(Ps(), patience=PATIENCE if patience is None else patience) or {}
            )
            return composed(run, found, "toolstack")
        except ControlError as silent:
            why = str(silent)
    told = bystanders.tell(inquiry, why)
    troubles = [one.row() for one in census.everybody()]
    return composed(run, {**told, "troubles": troubles}, "hypervisor")


def _why_silent(inquiry: Inquiry, census: Census) -> str:
    """Why the toolstack need not be asked; "" when it may well answer."""
    trouble = census.dom0("toolstack")
    if trouble is not None:
        return trouble.text
    return "" if inquiry.listens() else "the toolstack runs, and does not listen yet"


def _from_proc(run: RunDir, inquiry: Inquiry, still: Trouble) -> Picture:
    """What can be told when the hypervisor cannot be asked."""
    first = hypervisor(run, {})
    first["stalled"] = still.what == "stalled"
    others = [
        process(row["name"], "process", None, row["pid"], row["stalled"])
        for row in inquiry.family()
    ]
    return {
        "lab": run.name,
        "processes": [first, *others],
        "domains": [],
        "waits": [],
        "troubles": [still.row()],
        "lost": "",
        "source": "/proc",
        "unknown": "domains and devices are known to the hypervisor, which does not answer",
    }
