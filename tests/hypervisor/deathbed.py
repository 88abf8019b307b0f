"""What runs in the domains of ``test_death``: dom0 builds guests of every kind, and says so."""

import os
import signal
import threading
from pathlib import Path

from hvsim.abi.domctl import (
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_pausedomain,
    XEN_DOMCTL_unpausedomain,
)
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HYPERVISOR_domctl,
)
from hvsim.domain import Domain

ROOT = str(Path(__file__).parents[2])


def dom0(dom: Domain) -> None:
    """Build a guest of each kind; write "name pid" lines to the file that the test reads;
    go on with a thread that sleeps and one that never rests."""

    def domctl(cmd: int, *args: object) -> list[object]:
        return dom.hypercall.call(HYPERVISOR_domctl, cmd, *args)

    lines = []
    for kind in ("waits", "spins", "deaf", "paused", "stalled"):
        config = {"handle": bytes(16), "max_vcpus": 1, "max_pages": 64, "flags": 0}
        (domid,) = domctl(XEN_DOMCTL_createdomain, config)
        domctl(HVSIM_DOMCTL_populate, domid, 64)
        program = kind if kind not in ("paused", "stalled") else "waits"
        spec = {
            "name": kind,
            "profile": "guest",
            "program": f"tests.hypervisor.deathbed:{program}",
            "path": [ROOT],
            "store": False,
            "console": False,
        }
        domctl(HVSIM_DOMCTL_load, domid, spec)
        domctl(XEN_DOMCTL_unpausedomain, domid)
        pid = 0
        while not pid:
            (info,) = domctl(XEN_DOMCTL_getdomaininfo, domid)
            assert isinstance(info, dict)
            pid = info["pids"].get("main", 0)
        if kind == "paused":
            domctl(XEN_DOMCTL_pausedomain, domid)
        if kind == "stalled":
            domctl(HVSIM_DOMCTL_fault, domid, "", "stall")
        lines.append(f"{kind} {pid}\n")
    lines.append(f"dom0 {os.getpid()}\n")
    path = Path(dom.args["told"])
    path.with_suffix(".new").write_text("".join(lines))
    path.with_suffix(".new").rename(path)
    threading.Thread(target=spins, args=(dom,), daemon=True).start()
    waits(dom)


def waits(dom: Domain) -> None:
    """Sleeps in its only wait."""
    dom.wait(lambda: False, None, "nothing")


def spins(_dom: Domain) -> None:
    """Never waits, so it never learns that the hypervisor has gone."""
    while True:
        pass


def deaf(_dom: Domain) -> None:
    """Hears no signal that can be ignored, and does not look at its connection."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()
