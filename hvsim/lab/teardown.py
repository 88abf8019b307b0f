"""The end of a lab: orderly if it can be, complete in any case, and only of this lab.

What may be signalled is the recorded hypervisor (pid, start time, boot), if the kernel says that
it is one (`RunDir.proven`), and the processes that descend from it, each through a pidfd.  Of a
lab whose hypervisor is gone, those that the record names and that carry the lab's mark.  Nothing
is found by name or pattern.
"""

import signal
import time
from collections.abc import Callable

from hvsim.errors import HvsimError
from hvsim.lab import proof
from hvsim.lab.answers import ControlError
from hvsim.lab.claim import release
from hvsim.lab.control import Control
from hvsim.lab.door import DoorError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.processes import Handle, Identity, family, held, wait_all
from hvsim.lab.rundir import RunDir
from hvsim.linux import proc
from hvsim.toolstack.host.parts import DOM0
from hvsim.wire.lab_requests import Stop

GUESTS_TIMEOUT = 10.0
"""Seconds that the guests have for their own shutdown."""
HYPERVISOR_TIMEOUT = 5.0
"""Seconds that the hypervisor has to end after SIGTERM; then it is killed."""
IN_TURNS_MORE = 2.0
"""Seconds of the machine's time that a lab in lockstep has beyond those of the guests, which are of
its own time: one that is always busy takes a minute for ten of them."""
PROOF_TIMEOUT = 2.0
"""Seconds that a hypervisor which is just being started has to take its lock."""
KILL_TIMEOUT = 10.0
"""Seconds after which a killed process that is still there is reported."""


def _silent(_: str) -> None:
    pass


def take_down(
    run: RunDir,
    *,
    now: bool = False,
    guests_timeout: float = GUESTS_TIMEOUT,
    say: Callable[[str], None] = _silent,
) -> list[str]:
    """End the lab of `run` and remove its run directory.

    Guests are asked to shut down first (not with `now`), at most `guests_timeout` seconds; then
    the hypervisor is told to end, and with it goes every process of the lab. Works for a dead
    lab as well. Returns the paths of what could not be removed. Raises HvsimError when a process
    would not die.
    """
    run.read()
    hypervisor = run.hypervisor
    if hypervisor is not None and _alive_and_proven(run, hypervisor):
        if not now:
            _ask_guests(run, guests_timeout, say)
        # The family is listed while the hypervisor lives: afterwards nobody's parent tells.
        end_processes([*family(hypervisor), *recorded(run)])
    else:
        end_processes(recorded(run))
    return release(run)


def _alive_and_proven(run: RunDir, hypervisor: Identity) -> bool:
    """Whether the recorded process lives and is a hypervisor; one that has just been started has
    a moment to say so.  Raises: HvsimError: it lives, and is none."""
    deadline = time.monotonic() + PROOF_TIMEOUT
    while hypervisor.alive():
        if run.proven:
            return True
        if time.monotonic() > deadline:
            raise HvsimError(
                f"process {hypervisor.pid}, which {run.path} names, is no hypervisor of this lab "
                f"(it does not hold {run.lock.name}), and is left alone; if the lab is dead, "
                f"remove {run.path}"
            )
        time.sleep(0.02)
    return False


def recorded(run: RunDir) -> list[Identity]:
    """The processes that the record names beside the hypervisor, as far as they are the lab's."""
    listed = run.record.get("processes")
    found = map(Identity.from_record, listed if isinstance(listed, list) else [])
    mark = str(run.record.get("mark") or "")
    return [one for one in found if one is not None and mark and proof.carries(one.pid, mark)]


def end_processes(members: list[Identity]) -> None:
    """End `members`, the first of which (a hypervisor) takes the others with it if it can.

    Raises HvsimError naming those that still run in the end.
    """
    with held(dict.fromkeys(members)) as handles:
        if not handles:
            return
        first = handles[0]
        first.signal(signal.SIGTERM)
        stat = proc.stat(first.identity.pid)
        stopped = stat is not None and stat.state in "Tt"  # it hears nothing but SIGKILL
        if not first.wait(0.0 if stopped else HYPERVISOR_TIMEOUT):
            first.signal(signal.SIGKILL)
        left = _kill(wait_all(handles, 1.0))
        if left:
            pids = ", ".join(str(handle.identity.pid) for handle in left)
            raise HvsimError(
                f"these processes of the lab do not end: {pids}; "
                "look at them with `ps -o pid,stat,wchan,cmd -p PID`"
            )


def _kill(handles: list[Handle]) -> list[Handle]:
    for handle in handles:
        handle.signal(signal.SIGKILL)
    return wait_all(handles, KILL_TIMEOUT)


def _ask_guests(run: RunDir, timeout: float, say: Callable[[str], None]) -> None:
    """Orderly shutdown by the toolstack. One that does not answer only costs the order."""
    waits = run.waits(timeout + IN_TURNS_MORE)
    with Control(run.control, alive=lambda: run.running, waits=waits) as wire:
        try:
            data = wire.data(Stop(timeout), patience=timeout + 10.0)
        except (ControlError, DoorError) as failure:
            say(f"the guests could not be asked: {_why(run, failure)}")
            return
        if isinstance(data, dict):
            reasons = data.get("reasons") or {}
            for name in data.get("stopped") or []:
                say(f"{name}: shut down")
            for name in data.get("destroyed") or []:
                why = reasons.get(name) or f"did not shut down within {timeout:g} s"
                say(f"{name}: {why}, destroyed")


def _why(run: RunDir, failure: HvsimError) -> str:
    """What was waited for in vain, in words."""
    domid = getattr(failure, "domid", None)
    if domid is None:
        return str(failure)
    inquiry = Inquiry(run)
    name = DOM0 if domid == 0 else inquiry.names(inquiry.notes()).get(domid, f"domain {domid}")
    return f"{name} has the turn and does not come to wait in its vCPU; {failure}"
