"""Who of a lab stands still, told without the help of any of them.

Three sources: the record of the run directory (which process is the hypervisor), /proc (does it
live, is it stopped), and the hypervisor's door (who else there is).
"""

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hvsim.lab.builtin import BUILTIN
from hvsim.lab.door import Door, DoorError
from hvsim.lab.processes import Identity, descendants
from hvsim.lab.rundir import RunDir
from hvsim.linux import proc
from hvsim.toolstack.host.parts import HYPERVISOR
from hvsim.toolstack.host.trouble import (
    Census,
    Row,
    Trouble,
    full_disk,
    last_words_in,
    told_by_init,
)
from hvsim.toolstack.host.userdata_files import FOLDER, read_raw


class Inquiry:
    """Questions about the lab of one run directory; nothing is kept between two of them."""

    def __init__(self, run: RunDir) -> None:
        self.run = run

    @classmethod
    def beside(cls, socket_path: Path) -> "Inquiry":
        """About the lab that a socket belongs to."""
        return cls(RunDir(socket_path.parent).read())

    def hypervisor(self) -> Trouble | None:
        """What is wrong with the hypervisor; None also for a lab that has no record."""
        identity = self.run.hypervisor
        if identity is None:
            return None
        if not identity.alive():
            text = f"lab {self.run.name} has ended: {self.run.why_ended()}"
            return Trouble(HYPERVISOR, "dead", text, True)
        if proc.state(identity.pid) in proc.STOPPED:
            return Trouble(
                HYPERVISOR,
                "stalled",
                f"the hypervisor (pid {identity.pid}) stands still (SIGSTOP), and everything that "
                "asks it something waits; `hvsim fault resume hypervisor` lets it go on",
                True,
            )
        return None

    def census(self) -> Census:
        """Everybody else.  Raises: DoorError when the hypervisor does not answer."""
        with Door(self.run.door) as door:
            processes, domains = door.processes(), door.domains()
            pids = door.machine()["pids"]
        notes = self.notes()
        return Census(
            processes,
            domains,
            self.names(notes),
            told_by_init(self.run.path),
            {name: pid for name, pid in pids.items() if name != HYPERVISOR},
            last_words=self.last_words,
            dead={note["domid"]: str(note["gave_up"]) for note in notes if note.get("gave_up")},
            mourned="" if self.run.store == BUILTIN else "xenstored",
            full=full_disk(self.run.path),
        )

    def notes(self) -> list[Row]:
        """What the toolstack noted of its domains (``Record``), as it is."""
        return list(read_raw(self.run.path / FOLDER))

    def names(self, notes: Iterable[Row]) -> dict[int, str]:
        """Domains by number, as far as anybody has written their names down."""
        recorded = self.run.record.get("domains")
        known = recorded if isinstance(recorded, dict) else {}
        found = {domid: str(name) for name, domid in known.items() if isinstance(domid, int)}
        return {**found, **{note["domid"]: note["name"] for note in notes}}

    def trouble(self, who: Callable[[Census], Trouble | None]) -> Trouble | None:
        """What is wrong with the hypervisor, else with whom *who* asks a census about."""
        found = self.hypervisor()
        if found is not None:
            return found
        try:
            return who(self.census())
        except DoorError:
            return self.hypervisor()  # it has ended, or was stopped, in between

    def listens(self) -> bool:
        """Whether the toolstack has come as far as to listen for requests."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as knock:
            try:
                knock.connect(str(self.run.control))
            except BlockingIOError:
                return True  # so many have knocked that no more can wait
            except OSError:
                return False
        return True

    def store(self) -> Trouble | None:
        """What keeps the store from answering."""
        return self.trouble(lambda census: census.dom0("xenstored"))

    def store_words(self, silence: float = 0.0, grace: float = 0.0) -> str:
        """The same as a sentence, "" for nothing; nothing either before *silence* has lasted
        *grace* seconds."""
        found = self.store() if silence >= grace else None
        return found.text if found is not None and found.lasting else ""

    def everybody(self) -> list[Trouble]:
        """All that is wrong with anybody."""
        found = self.hypervisor()
        if found is not None:
            return [found]
        try:
            return self.census().everybody()
        except DoorError:
            found = self.hypervisor()
            return [] if found is None else [found]

    def family(self) -> list[dict[str, Any]]:
        """The lab's processes as /proc has them, for when the hypervisor cannot be asked: name (15
        letters of it at most), pid, and whether it stands still."""
        identity = self.run.hypervisor
        if identity is None or not identity.alive():
            return []
        found = []
        for pid in descendants(identity.pid):
            stat = proc.stat(pid)
            if stat is not None:
                name = "spawner" if stat.name == "hvsim-spawner" else stat.name
                found.append({"name": name, "pid": pid, "stalled": stat.state in "Tt"})
        return found

    def member(self, pid: int) -> Identity | None:
        """The process *pid*, if it is the lab's: the hypervisor, or descended from it."""
        root = self.run.hypervisor
        if root is None:
            return None
        identity, parent = Identity.of(pid), pid
        while parent > 1 and parent != root.pid:
            stat = proc.stat(parent)
            parent = stat.parent if stat is not None else 0
        return identity if parent == root.pid and root.alive() else None

    def last_words(self, domid: int) -> str:
        """What a domain said last on the hypervisor's console; "" for nothing."""
        try:
            with Door(self.run.door) as door:
                return last_words_in(door.console(), domid)
        except DoorError:
            return ""
