"""Who stands still, has died or is paused, and so keeps others waiting.

A *census* is one look at everybody: the hypervisor's lists of processes and domains, what
/proc says of each process, and what dom0's init wrote down.  Nothing in it is a guess, and none of
those who are looked at has to answer.  The toolstack takes it through its hypercalls, a command of
the lab's owner through the owner's door, and both say the same.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hvsim import shortage
from hvsim.abi.sched import SHUTDOWN_watchdog
from hvsim.linux import proc
from hvsim.toolstack.host.parts import DAEMONS, DOM0, PROGRAM, server_process
from hvsim.wire.picture import TroubleRow

INIT_FILE: Final = "daemons"
"""In the run directory: what dom0's init says of the daemons."""

DISK: Final = "disk"
"""Who is to blame when there is no space left."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why somebody does not do what others wait for.

    Attributes:
        who: its name, as ``hvsim fault`` and ``hvsim xl`` take it.
        what: "stalled", "dead", "given-up", "crashed", "shutdown", "gone", "paused" or, of the
            "disk", "full".
        text: a sentence that begins with the name, or with what is short.
        lasting: it does not pass by itself.
    """

    who: str
    what: str
    text: str
    lasting: bool

    def row(self) -> TroubleRow:
        """For the picture of a host."""
        return {"who": self.who, "what": self.what, "text": self.text}


def stands_still(pid: int) -> bool:
    """Whether a process is stopped by a signal or a tracer, or a program that it has started: a
    daemon of Xen's own and a QEMU are children of the process that stands for them."""
    return bool(pid) and (
        proc.state(pid) in proc.STOPPED
        or any(proc.state(child) in proc.STOPPED for child in proc.children(pid))
    )


class Census:
    """One look at everybody.

    Args:
        processes: the hypervisor's rows (``HVSIM_SYSCTL_processes``).
        domains: its rows of domains (``XEN_SYSCTL_getdomaininfolist``).
        names: of domains, by number, as far as they are known.
        daemons: what dom0's init wrote down, by name.
        pids: of the hypervisor and its spawner, by name.
        still: whether a process stands still.
        last_words: what a domain that has crashed said last, "" for nothing.
        dead: domains that nobody makes again any more, and why, by number.
        mourned: the process of dom0 that is not started again: a real store.
        full: that the disk of the run directory is, in a sentence.

    Attributes:
        pids: as above.
    """

    def __init__(
        self,
        processes: Iterable[Row],
        domains: Iterable[Row],
        names: Mapping[int, str],
        daemons: Mapping[str, Row] | None = None,
        pids: Mapping[str, int] | None = None,
        still: Callable[[int], bool] = stands_still,
        last_words: Callable[[int], str] = lambda domid: "",
        dead: Mapping[int, str] | None = None,
        mourned: str = "",
        full: str = "",
    ) -> None:
        self._processes = list(processes)
        self._domains = {int(row["domid"]): row for row in domains}
        self._names = names
        self._daemons = daemons or {}
        self.pids: Final[Mapping[str, int]] = pids or {}
        self._still = still
        self._last_words = last_words
        self._dead = dead or {}
        self._mourned = mourned
        self._full = full

    def name(self, domid: int) -> str:
        """How a domain is called here."""
        return DOM0 if domid == 0 else self._names.get(domid) or f"domain {domid}"

    def dom0(self, process: str) -> Trouble | None:
        """What is wrong with a process of dom0, or of the hypervisor ("hypervisor", "spawner")."""
        if process in self.pids:  # their children are the lab: only they themselves count
            pid = self.pids[process]
            return _still(process, pid) if proc.state(pid) in proc.STOPPED else None
        rows = [r for r in self._processes if r["domid"] == 0 and r["process"] == process]
        row = next((row for row in rows if row["alive"]), None)
        if row is not None:
            return self._stalled(process, row)
        if not rows:
            return None  # it was never there: a part that this lab does not have
        told = self._daemons.get(process) or {}
        if told.get("given_up"):
            return Trouble(process, "given-up", str(told["given_up"]), True)
        if any(not row["gone"] for row in rows):
            return None  # it is being made
        text = f"{process} (pid {rows[-1]['pid']}) {_end(rows[-1])}"
        if process == self._mourned:
            text = f"{text}; it was the store, and nobody can bring that back"
            return Trouble(process, "given-up", text, True)
        if process == "kernel":
            return Trouble(process, "dead", text, False)  # and with it, in a moment, the lab
        init = self.dom0("kernel")
        if init is not None:
            return Trouble(init.who, init.what, f"{text}, and {init.text}", True)
        if self._full:  # it will die of that again
            return Trouble(DISK, "full", f"{self._full}; {text}", True)
        return Trouble(process, "dead", f"{text}: it is being started again", False)

    def domain(self, domid: int) -> Trouble | None:
        """What is wrong with a domain; dom0's parts are asked for by name."""
        if domid == 0:
            return None
        name, row = self.name(domid), self._domains.get(domid)
        who = name if name == f"domain {domid}" else f"{name} (domain {domid})"
        if domid in self._dead:
            return Trouble(name, "given-up", self._dead[domid], True)
        if row is None:
            return Trouble(name, "gone", f"{who} is gone", True)
        flags = row["flags"]
        if flags.get("dying"):
            return Trouble(name, "gone", f"{who} is being destroyed", True)
        if flags.get("shutdown"):
            if flags.get("crashed"):
                why = self._killed(domid) or self._last_words(domid)
                text = f"{who} has crashed" + (f": {why}" if why else "")
                return Trouble(name, "crashed", text, True)
            if row.get("shutdown_reason") == SHUTDOWN_watchdog:
                return Trouble(name, "crashed", f"{who} has crashed: its watchdog ran out", True)
            return Trouble(name, "shutdown", f"{who} has shut down", True)
        main = next((r for r in self._live(domid) if r["process"] == "main"), None)
        if flags.get("paused"):
            if main is not None and main["stalled"]:
                return self._stalled(name, main)
            remedy = f"`hvsim xl unpause {name}` lets it go on"
            return Trouble(name, "paused", f"{who} is paused; {remedy}", False)
        return None if main is None else self._stalled(name, main)

    def server(self, kind: str, domid: int, backend_domid: int) -> Trouble | None:
        """What is wrong with who serves a device of backend class *kind* ("vbd", "vif", "qdisk")
        to domain *domid*."""
        if backend_domid:
            return self.domain(backend_domid)
        return self.dom0(server_process(kind, domid))

    def everybody(self) -> list[Trouble]:
        """All that is wrong with processes of dom0 and with those that serve or use devices; who
        is paused or has ended in order is not."""
        names = [*self.pids, *DAEMONS]
        names += [
            str(row["process"])
            for row in self._processes
            if row["domid"] == 0 and row["alive"] and row["process"] not in DAEMONS
        ]
        found = [self.dom0(name) for name in names if not name.startswith(PROGRAM)]
        found += [self.domain(domid) for domid in sorted({*self._domains, *self._dead})]
        if self._full:
            found.insert(0, Trouble(DISK, "full", self._full, True))
        return [
            trouble
            for trouble in dict.fromkeys(found)
            if trouble is not None and trouble.what not in ("paused", "shutdown", "gone")
        ]

    def _killed(self, domid: int) -> str:
        """Of which signal a domain's own process died, if it died of one."""
        for row in self._processes:
            if (row["domid"], row["process"]) == (domid, "main") and not row["alive"]:
                status = row.get("status")
                if status is not None and os.WIFSIGNALED(status):
                    return f"its process (pid {row['pid']}) {_end(row)}"
        return ""

    def _live(self, domid: int) -> list[Row]:
        return [row for row in self._processes if row["domid"] == domid and row["alive"]]

    def _stalled(self, who: str, row: Row) -> Trouble | None:
        """One that a fault has made slow is stopped many times a second, and does not stand."""
        if row.get("slowed") and not row["stalled"]:
            return None
        pid = int(row["pid"])
        return _still(who, pid) if self._still(pid) else None


def _still(who: str, pid: int) -> Trouble:
    text = f"{who} (pid {pid}) stands still (SIGSTOP); `hvsim fault resume {who}` lets it go on"
    return Trouble(who, "stalled", text, True)


def told_by_init(folder: Path) -> dict[str, Row]:
    """What dom0's init wrote down of its daemons, by name (``domains.init``)."""
    try:
        found = json.loads((folder / INIT_FILE).read_text("utf-8"))["daemons"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def full_disk(folder: Path) -> str:
    """That there is no space left where the lab's files are, in a sentence; "" while there is."""
    try:
        free, files = shortage.space_left(str(folder))
    except OSError:
        return ""
    return "" if free and files else shortage.no_space(str(folder))


def last_words_in(console: str, domid: int) -> str:
    """The last line that a domain wrote to the hypervisor's console, of which *console* is the
    text."""
    head = f"(d{domid}) "
    lines = [line for line in console.splitlines() if line.startswith(head)]
    return lines[-1].removeprefix(head)[:300] if lines else ""


def _end(row: Row) -> str:
    """How a process ended, in words that follow its name."""
    status = row.get("status")
    if status is None:
        return "has ended"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = number in {int(one) for one in signal.valid_signals() if isinstance(one, int)}
        name = signal.Signals(number).name if known else f"signal {number}"
        return f"was killed by {name}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"
