"""Faults that happen now: a domain's process is killed, stopped or continued.

The signal is sent by the hypervisor through the pidfd that it holds, never by a bare pid.
"""

from typing import Any

from hvsim.lab.control import Control

ACTIONS = {
    "kill": "SIGKILL: the domain dies, as in a crash of its kernel",
    "stall": "SIGSTOP: the domain stops in the middle of whatever it does",
    "resume": "SIGCONT: a stalled domain goes on",
}


def inject(control: Control, action: str, domain: str, process: str = "") -> dict[str, Any]:
    """Do `action` to `domain` (a name or domid). Returns {"domid", "pid"}.

    Raises ControlError with the toolstack's text, e.g. for an unknown domain.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is none of {', '.join(ACTIONS)}")
    data = control.data("fault", domain=domain, process=process, action=action)
    return dict(data or {})
