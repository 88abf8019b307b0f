"""The run directory: where a running lab is written down, and nothing else of it is.

    $HVSIM_RUN_DIR, or $XDG_RUNTIME_DIR/hvsim, or /tmp/hvsim-<uid>
      <lab>/lab.json            the record: who runs here, since when
      <lab>/hypervisor          the hypervisor's door for its owner (hvsim.hypervisor.door)
      <lab>/ended               why the hypervisor has ended, once it has
      <lab>/daemons             what dom0's init says of its daemons
      <lab>/libxl/              what the toolstack must not forget of its domains
      <lab>/hypervisor.lock     held by the hypervisor as long as it lives
      <lab>/control             toolstack
      <lab>/zmq/control         the same for ZeroMQ (ROUTER), by dom0's edge (domains.edge)
      <lab>/zmq/events          hypervisor's ledger (ZeroMQ PUB), by the same
      <lab>/xenstored/socket    the store, for xenstore tools
      <lab>/console/<name>.log  what each domain said (guest-<name>.log from a real xenconsoled)
      <lab>/log/*.log           what each process said
      <lab>/images/             scratch images
      <lab>/dom0/               /var/lib/xen and the like, for programs in Domain-0
      .<lab>/                   one that is being made or removed (hvsim.lab.claim)

A lab is its hypervisor process. The record names it by pid, start time and boot, so that a
stale record is told from a running lab and a reused pid is never taken for it. A record is read
only where nobody else could have written it (`trust`), and the process that it names is the lab's
hypervisor only if the kernel says so: it holds the lock.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvsim.lab import trust
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.processes import Identity

if TYPE_CHECKING:
    from hvsim.lab.lockstep import GateWaits

NAME_MAX = 32
"""Letters of a lab's name."""
RECORD = "lab.json"
"""The record's name."""
LAST_WORDS = 2048
"""Bytes that are reserved for the reason of a hypervisor's end."""


def is_lab_name(name: str) -> bool:
    """Letters, digits, '.', '_' and '-', at most NAME_MAX, the first of them a letter or digit."""
    plain = name.isascii() and all(letter.isalnum() or letter in "._-" for letter in name)
    return plain and name[:1].isalnum() and len(name) <= NAME_MAX


def base_dir() -> Path:
    """The directory that holds the run directories of all labs of this user."""
    if explicit := os.environ.get("HVSIM_RUN_DIR"):
        return Path(explicit).absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime).absolute() / "hvsim"
    return Path(f"/tmp/hvsim-{os.getuid()}")


class RunDir:
    """The run directory of one lab, and the names of what is in it."""

    __slots__ = ("path", "record")

    def __init__(self, path: Path, record: dict[str, Any] | None = None) -> None:
        self.path = path
        self.record: dict[str, Any] = {} if record is None else record

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.path.name

    @property
    def control(self) -> Path:
        """Socket of the toolstack daemon."""
        return self.path / "control"

    @property
    def door(self) -> Path:
        """Socket of the hypervisor's door for its owner."""
        return self.path / "hypervisor"

    @property
    def obituary(self) -> Path:
        """The file that says why the hypervisor has ended."""
        return self.path / "ended"

    @property
    def zmq(self) -> Path:
        """Directory of the sockets that speak ZeroMQ: ``control`` and ``events``."""
        return self.path / "zmq"

    @property
    def xenstored(self) -> Path:
        """Directory of the store's socket: the value of XENSTORED_PATH's directory."""
        return self.path / "xenstored" / "socket"

    @property
    def console(self) -> Path:
        """Directory of the console logs."""
        return self.path / "console"

    def console_log(self, domain: str) -> Path:
        """What the domain of that name said, under the name that the console daemon gives it."""
        real = self.record.get("console", BUILTIN) != BUILTIN
        return self.console / (f"guest-{domain}.log" if real else f"{domain}.log")

    @property
    def store(self) -> str:
        """The daemon that is the store: "builtin", or one of Xen's own."""
        return str(self.record.get("store", BUILTIN))

    def waits(self, limit: float | None = None) -> GateWaits | None:
        """How somebody outside waits for it, where that is not as the machine does: in lockstep;
        at most *limit* seconds of the machine's time."""
        if not self.record.get("lockstep"):
            return None
        from hvsim.lab import lockstep  # seldom wanted

        return lockstep.GateWaits(self.door, limit)

    @property
    def log(self) -> Path:
        """Directory of the process logs."""
        return self.path / "log"

    @property
    def images(self) -> Path:
        """Directory of the scratch images."""
        return self.path / "images"

    @property
    def lock(self) -> Path:
        """The file whose lock the hypervisor holds."""
        return self.path / "hypervisor.lock"

    @property
    def proven(self) -> bool:
        """Is the recorded hypervisor one, and this lab's?  The kernel says so."""
        from hvsim.lab import proof  # only who kills asks

        hypervisor = self.hypervisor
        return hypervisor is not None and proof.holder(self.lock) == hypervisor.pid

    @property
    def place(self) -> Path:
        """Where programs of Domain-0 find the lab's own /var/lib/xen and the like."""
        return self.path / "dom0"

    @property
    def hypervisor(self) -> Identity | None:
        """The lab's hypervisor, as recorded."""
        return Identity.from_record(self.record.get("hypervisor"))

    @property
    def launcher(self) -> Identity | None:
        """The process that is bringing the lab up or down, as recorded."""
        return Identity.from_record(self.record.get("launcher"))

    @property
    def running(self) -> bool:
        """Does the recorded hypervisor live?"""
        hypervisor = self.hypervisor
        return hypervisor is not None and hypervisor.alive()

    @property
    def busy(self) -> bool:
        """Is somebody bringing it up or down right now?"""
        launcher = self.launcher
        return launcher is not None and launcher.alive()

    @property
    def state(self) -> str:
        """ "starting", "running", "stopping", "failed" (left so by `up --keep`), "interrupted" (its
        `up` was killed) or "dead"."""
        said = str(self.record.get("state", "dead"))
        if not self.running:
            return said if self.busy and said == "starting" else "dead"
        if said in ("starting", "stopping") and not self.busy:
            return "interrupted"
        return said

    def why_ended(self) -> str:
        """Why a lab whose hypervisor is gone has ended, in words."""
        try:
            said = trust.read(self.path, self.obituary.name) or b""
            if text := said.strip(b"\0\n").decode("utf-8", "replace"):
                return text[:LAST_WORDS]
        except OSError:
            pass
        hypervisor = self.hypervisor
        if hypervisor is None:
            return "its hypervisor never ran"
        return (
            f"its hypervisor (pid {hypervisor.pid}) is gone without a word, as one that was killed "
            "or ran out of memory"
        )

    def write(self, **changes: Any) -> None:
        """Change the record, in one step for every reader."""
        self.record.update(changes)
        text = json.dumps(self.record, indent=2, sort_keys=True) + "\n"
        temporary = self.path / f".{RECORD}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, self.path / RECORD)

    def read(self) -> RunDir:
        """Read the record again; an unreadable record is an empty one.

        Raises: Untrusted: somebody else made it, or could have.
        """
        try:
            loaded = json.loads(trust.read(self.path, RECORD) or b"{}")
        except (OSError, ValueError, RecursionError):
            loaded = {}
        self.record = loaded if isinstance(loaded, dict) else {}
        return self


def survey(base: Path | None = None) -> tuple[list[RunDir], dict[str, str]]:
    """Every lab with a record, by name, also those whose processes are gone; and names that look
    like labs and are not believed, for they are not of this user alone -> why.

    Raises Untrusted when the directory of all labs is somebody else's, and nobody asked for it.
    """
    if base is None:
        base = base_dir()
        if "HVSIM_RUN_DIR" not in os.environ and os.path.lexists(base):
            trust.check(base, os.lstat(base), directory=True)
    labs: list[RunDir] = []
    strange: dict[str, str] = {}
    try:
        entries = sorted(entry for entry in base.iterdir() if is_lab_name(entry.name))
    except OSError:
        return [], {}
    for entry in entries:
        try:
            if trust.read(entry, RECORD) is not None:
                labs.append(RunDir(entry).read())
        except trust.Untrusted as why:
            strange[entry.name] = str(why)
        except OSError:
            continue
    return labs, strange
