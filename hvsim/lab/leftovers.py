"""Is anything of a lab still there? Asked of the kernel, after the lab has gone."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hvsim.lab.processes import Identity, family
from hvsim.lab.rundir import RunDir
from hvsim.lab.up import Running
from hvsim.linux import proc

OUR_LINKS = re.compile(r"vif\d+\.\d+(-\w+)?|xenbr\d+")


@dataclass(slots=True)
class Witness:
    """Remembers what a lab had while it ran; `leftovers()` says what of it is still there."""

    run: RunDir
    seen: set[Identity] = field(default_factory=set)
    terminals: dict[str, int] = field(default_factory=dict)
    """Console pty -> its change time, as the number alone is soon used by others."""
    shm_before: set[str] = field(default_factory=set)
    namespaces: dict[str, float] = field(default_factory=dict)
    """Network namespaces of the lab's processes, other than the machine's: net:[4026532000] ->
    seconds since boot when one of ours was last seen in it."""
    links_before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shm_before = _shm()
        self.links_before = _links()

    def look(self, terminals: list[str] | None = None) -> None:
        """Remember every process that the lab has now, and these ptys."""
        hypervisor = self.run.hypervisor
        if hypervisor is not None:
            now = set(family(hypervisor))
            self.seen |= now
            own = _namespace("self")
            for one in now:
                space = _namespace(str(one.pid))
                # Its number may be somebody else's by now: it must be alive after the look.
                if space not in ("", own) and one.alive():
                    self.namespaces[space] = time.clock_gettime(time.CLOCK_BOOTTIME)
        for path in terminals or []:
            try:
                self.terminals[path] = os.stat(path).st_ctime_ns
            except OSError:
                continue

    def ours(self) -> list[str]:
        """What is still there and can be no other lab's, in words; empty when nothing is."""
        found = [
            f"process {one.pid}"
            for one in sorted(self.seen, key=lambda one: one.pid)
            if one.alive()
        ]
        if self.run.path.exists():
            found.append(f"run directory {self.run.path}")
        found += [f"socket {name}" for name in self._sockets()]
        found += [f"pty {path}" for path, changed in self.terminals.items() if _is(path, changed)]
        found += [f"network namespace {name}" for name in self.new_namespaces()]
        return found

    def leftovers(self) -> list[str]:
        """As `ours`, with what has come meanwhile and may be another lab's as well."""
        found = self.ours()
        found += [
            f"shared memory {name}" for name in sorted(_shm() - self.shm_before) if "hvsim" in name
        ]
        found += [f"network link {name}" for name in sorted(_links() - self.links_before)]
        return found

    def new_namespaces(self) -> list[str]:
        """Those of the lab's network namespaces that a process of its time is still in, or that
        are mounted.  The kernel gives the number of one that has gone to the next, so processes
        that were started after ours was last seen there say nothing."""
        if not self.namespaces:
            return []
        ticks = os.sysconf("SC_CLK_TCK")
        alive = set()
        for one in (Identity.of(pid) for pid in proc.pids()):
            if one is not None:
                space = _namespace(str(one.pid))
                if one.start_time <= self.namespaces.get(space, -1.0) * ticks:
                    alive.add(space)
        mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        return sorted(name for name in self.namespaces if name in alive or f" {name} " in mounted)

    def _sockets(self) -> list[str]:
        """Unix sockets bound below the run directory, or to an abstract name of the lab.

        Abstract names hold the pid that bound them; another lab of the same name may run in
        another run directory, and its sockets are none of ours.
        """
        ours = {one.pid for one in self.seen}
        abstract = re.compile(rf"@hvsim-{re.escape(self.run.name)}/[^/]*/([0-9]+)\.")
        found = []
        table = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
        for line in table.splitlines():
            words = line.split(maxsplit=7)
            name = words[7] if len(words) == 8 else ""
            match = abstract.match(name)
            if name.startswith(f"{self.run.path}/") or (match and int(match[1]) in ours):
                found.append(name)
        return found


@contextlib.contextmanager
def witnessed(running: Running, down: Callable[[], None]) -> Iterator[Witness]:
    """Whatever comes within, the lab goes; all that it had was seen before, if nothing failed.

    Args:
        down: takes it down in the usual way; what fails takes it down at once, without it.
    """
    try:
        witness = Witness(running.run)
        witness.look()
        yield witness
        witness.look()
        down()
    except BaseException:
        with contextlib.suppress(KeyboardInterrupt):
            _fall(running)
        _fall(running)  # Ctrl-C may come twice
        raise


def _fall(running: Running) -> None:
    if running.run.path.exists():
        running.down(now=True)


def left(leftovers: list[str]) -> str:
    """What is left, in words."""
    return "LEFT: " + ", ".join(leftovers) if leftovers else "nothing is left"


def _is(path: str, changed: int) -> bool:
    try:
        return os.stat(path).st_ctime_ns == changed
    except OSError:
        return False


def _namespace(pid: str) -> str:
    """The network namespace of a process; "" when that cannot be seen."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _links() -> set[str]:
    """The network links of this namespace that have a name of ours."""
    try:
        names = os.listdir("/sys/class/net")
    except OSError:
        return set()
    return {name for name in names if OUR_LINKS.fullmatch(name)}


def _shm() -> set[str]:
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()
