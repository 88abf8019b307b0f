"""Faults that happen now: a process of a lab is killed, stopped or continued.

Nobody of dom0 is asked: the hypervisor does it, at its owner's door, through the pidfd that it
holds, and remembers that it was a fault. Where the hypervisor itself is meant, or stands still, the
signal is sent from here: by a pidfd that was opened first and then found to be of this lab.
"""

import signal
import time
from typing import Any, Final

from hvsim.abi import errno
from hvsim.errors import HvsimError
from hvsim.lab.door import Door, DoorError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.names.domain import number
from hvsim.toolstack.host.parts import DOM0, HYPERVISOR
from hvsim.toolstack.host.trouble import stands_still

ACTIONS = {
    "kill": "SIGKILL: the domain dies, as in a crash of its kernel",
    "stall": "SIGSTOP: the domain stops in the middle of whatever it does",
    "resume": "SIGCONT: a stalled domain goes on",
}
SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "stall": signal.SIGSTOP,
    "resume": signal.SIGCONT,
}
SPAWNER: Final = "spawner"
STOP_TIMEOUT: Final = 5.0
"""Seconds until a process that got SIGSTOP has stopped, or one that got SIGKILL is gone."""
_LOOK: Final = 0.002
_NOBODY: Final = (errno.ENOENT, errno.ESRCH)
_TITLE: Final = 15
"""Bytes of a process's name that the kernel keeps."""


class NoProcess(HvsimError):
    """Who is meant has no process that runs: it has died, and is not back yet; or it never was."""


def inject(run: RunDir, action: str, who: str, process: str = "") -> dict[str, Any]:
    """Do `action` to `who`: a domain (name or domid; `process`: which of its processes), a process
    of dom0, "hypervisor" or "spawner". Returns {"domid", "pid"}; the domid of the last two is None.

    Raises HvsimError; NoProcess, when that one is dead in this moment.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is none of {', '.join(ACTIONS)}")
    inquiry = Inquiry(run)
    if who == HYPERVISOR and not process:
        return {"domid": None, "pid": _send(inquiry, _pid_of_hypervisor(run), action, who)}
    if inquiry.hypervisor() is not None:
        if process and who != DOM0:
            raise HvsimError(
                f"{who}: its process {process!r} is known to the hypervisor alone, which does not "
                "answer"
            )
        pid = _by_name(inquiry, process or who)
        return {"domid": None, "pid": _send(inquiry, pid, action, process or who)}
    with Door(run.door) as door:
        if who == SPAWNER and not process:
            pid = int(door.machine()["pids"][SPAWNER])
            return {"domid": None, "pid": _send(inquiry, pid, action, who)}
        domid, process = _whom(inquiry, door, who, process)
        try:
            return {"domid": domid, "pid": door.fault(domid, process, action)}
        except DoorError as refusal:
            kind = NoProcess if refusal.errno in _NOBODY else HvsimError
            raise kind(_refused(refusal, who, process)) from None


def _whom(inquiry: Inquiry, door: Door, who: str, process: str) -> tuple[int, str]:
    """The domain and the process that a user names.  Raises HvsimError."""
    rows = door.processes()
    living = {int(info["domid"]) for info in door.domains()}
    if (domid := number(who)) is not None:
        if domid in living:
            return domid, process
        raise HvsimError(f"Error: Domain '{who}' does not exist.")
    if who == DOM0:
        return 0, process
    names = {name: domid for domid, name in inquiry.names(inquiry.notes()).items()}
    if names.get(who) in living:
        return names[who], process
    if not process and any(row["domid"] == 0 and row["process"] == who for row in rows):
        return 0, who
    there = [name for name, domid in names.items() if domid in living]
    there += [str(row["process"]) for row in rows if row["domid"] == 0]
    raise NoProcess(f"{who}: there is nobody of that name; there are {', '.join(there)}")


def _refused(refusal: DoorError, who: str, process: str) -> str:
    if refusal.errno in _NOBODY:
        what = f"process {process!r}" if process and process != who else "process that runs"
        return f"{who}: there is no {what}; `hvsim ps` shows those there are"
    if refusal.errno == errno.EAGAIN:
        return f"{who}: it has not stopped within {STOP_TIMEOUT:g} s (it sits in the kernel)"
    return f"{who}: {refusal}"


def _pid_of_hypervisor(run: RunDir) -> int:
    hypervisor = run.hypervisor
    if hypervisor is None or not hypervisor.alive():
        raise HvsimError(f"lab {run.name} has ended: {run.why_ended()}")
    return hypervisor.pid


def _by_name(inquiry: Inquiry, who: str) -> int:
    """The process that calls itself *who*, among the lab's; the hypervisor cannot be asked."""
    wanted = who.encode()[:_TITLE].decode(errors="ignore")
    found = [row["pid"] for row in inquiry.family() if row["name"] == wanted]
    if len(found) == 1:
        return int(found[0])
    still = inquiry.hypervisor()
    why = still.text if still is not None else "the hypervisor does not answer"
    many = f"{len(found)} processes are called so" if found else "no process of the lab is"
    raise HvsimError(f"{who}: {many} that, and {why}")


def _send(inquiry: Inquiry, pid: int, action: str, who: str) -> int:
    """Send the signal to the lab's own process *pid*, and wait until it has worked."""
    identity = inquiry.member(pid)
    handle = identity.open() if identity is not None else None
    if handle is None:
        raise HvsimError(f"{who}: process {pid} is not of this lab any more")
    with handle:
        handle.signal(SIGNALS[action])
        if action == "kill":
            if not handle.wait(STOP_TIMEOUT):
                raise HvsimError(f"{who} (pid {pid}) is not gone after {STOP_TIMEOUT:g} s")
            return pid
        deadline = time.monotonic() + STOP_TIMEOUT
        while not handle.wait(0.0):
            if stands_still(pid) == (action == "stall"):
                return pid
            if time.monotonic() > deadline:
                raise HvsimError(f"{who} (pid {pid}): no effect within {STOP_TIMEOUT:g} s")
            time.sleep(_LOOK)
    raise NoProcess(f"{who} (pid {pid}) has ended meanwhile")
