"""The run directory: where a running lab is written down, and nothing else of it is.

    $HVSIM_RUN_DIR, or $XDG_RUNTIME_DIR/hvsim, or /tmp/hvsim-<uid>
      <lab>/lab.json            the record: who runs here, since when
      <lab>/hypervisor          the hypervisor's door for its owner (hvsim.hypervisor.door)
      <lab>/ended               why the hypervisor has ended, once it has
      <lab>/daemons             what dom0's init says of its daemons
      <lab>/libxl/              what the toolstack must not forget of its domains
      <lab>/hypervisor.lock     held by the hypervisor as long as it lives
      <lab>/control             toolstack (ZeroMQ ROUTER)
      <lab>/events              hypervisor's ledger (ZeroMQ PUB)
      <lab>/xenstored/socket    the store, for xenstore tools
      <lab>/console/<name>.log  what each domain said (guest-<name>.log from a real xenconsoled)
      <lab>/log/*.log           what each process said
      <lab>/images/             scratch images
      <lab>/dom0/               /var/lib/xen and the like, for programs in Domain-0

A lab is its hypervisor process. The record names it by pid, start time and boot, so that a
stale record is told from a running lab and a reused pid is never taken for it. A record is read
only where nobody else could have written it (`trust`), and the process that it names is the lab's
hypervisor only if the kernel says so: it holds the lock.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvsim import shortage
from hvsim.lab import cgroups, trust
from hvsim.lab.model import BUILTIN
from hvsim.lab.place import furnish
from hvsim.lab.problems import HvsimError
from hvsim.lab.processes import Identity

SOCKET_PATH_MAX = 107
"""sizeof(sun_path) - 1 of unix(7)."""
LAB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_RECORD = "lab.json"
_LAST_WORDS = 2048
"""Bytes that are reserved for the reason of a hypervisor's end."""


class RunDirError(HvsimError):
    """The run directory cannot be used as it is."""


class LabRunning(HvsimError):
    """A lab of that name runs already."""


def base_dir() -> Path:
    """The directory that holds the run directories of all labs of this user."""
    if explicit := os.environ.get("HVSIM_RUN_DIR"):
        return Path(explicit).absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime).absolute() / "hvsim"
    return Path(f"/tmp/hvsim-{os.getuid()}")


@dataclass(slots=True)
class RunDir:
    """The run directory of one lab, and the names of what is in it."""

    path: Path
    record: dict[str, Any] = field(default_factory=dict)

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
    def events(self) -> Path:
        """Socket of the hypervisor's stream of ledger records."""
        return self.path / "events"

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
        hypervisor = self.hypervisor
        return hypervisor is not None and trust.holder(self.lock) == hypervisor.pid

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
                return text[:_LAST_WORDS]
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
        temporary = self.path / f".{_RECORD}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, self.path / _RECORD)

    def read(self) -> "RunDir":
        """Read the record again; an unreadable record is an empty one.

        Raises: Untrusted: somebody else made it, or could have.
        """
        try:
            loaded = json.loads(trust.read(self.path, _RECORD) or b"{}")
        except (OSError, ValueError, RecursionError):
            loaded = {}
        self.record = loaded if isinstance(loaded, dict) else {}
        return self


def unfit_name(name: str, base: Path) -> tuple[str, str] | None:
    """What is wrong with a lab of that name in that directory, and the remedy; None for nothing."""
    if not LAB_NAME.fullmatch(name):
        return f"lab name {name!r}", "use letters, digits, '.', '_' and '-', at most 32"
    socket = RunDir(base / name).xenstored
    longest = len(os.fsencode(str(socket)))
    if longest > SOCKET_PATH_MAX:
        return (
            f"{socket}: a socket path of {longest} bytes, the kernel takes {SOCKET_PATH_MAX}",
            "set HVSIM_RUN_DIR to a shorter directory, or use a shorter --name",
        )
    return None


def claim(name: str, lab_file: str, base: Path | None = None) -> RunDir:
    """Make the run directory of lab `name` and record this process as the one that starts it.

    A directory left by a dead lab is taken over: its record names processes that are gone.
    Raises LabRunning when that lab runs or is being started, RunDirError when the directory
    cannot be used or its socket paths would be longer than the kernel takes.
    """
    base = base or base_dir()
    unfit = unfit_name(name, base)
    if unfit is not None:
        raise RunDirError("; ".join(unfit))
    run = RunDir(base / name)
    me = Identity.of(os.getpid())
    assert me is not None
    with _locked(base):
        if run.path.exists():
            _reclaim(run)
        try:
            run.path.mkdir(mode=0o700)
            for part in (run.xenstored.parent, run.console, run.log, run.images):
                part.mkdir(mode=0o700)
            furnish(run.place, run.xenstored.parent)
            _reserve(run.obituary)
        except OSError as error:
            shutil.rmtree(run.path, ignore_errors=True)
            raise RunDirError(shortage.words(error, str(base))) from None
        run.record = {}  # nothing of the one that was there
        run.write(
            format=1,
            name=name,
            mark=secrets.token_hex(16),
            lab_file=lab_file,
            state="starting",
            created=time.time(),
            launcher=me.record(),
            hypervisor=None,
        )
    return run


def _reserve(obituary: Path) -> None:
    """Room for the last words: a disk that is full then must not swallow them."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(obituary, flags, 0o600), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, _LAST_WORDS)


def _reclaim(run: RunDir) -> None:
    run.read()
    if run.running:
        raise LabRunning(
            f"lab {run.name!r} runs already (hypervisor pid {run.record['hypervisor']['pid']}); "
            f"end it with `hvsim down {run.name}`, or start this one beside it with --name OTHER"
        )
    if run.busy:
        raise LabRunning(
            f"lab {run.name!r} is being started by pid "
            f"{run.record['launcher']['pid']}; wait for it, or use --name OTHER"
        )
    if not run.record and any(run.path.iterdir()):
        raise RunDirError(
            f"{run.path} holds files that no lab wrote; move them away, "
            "or set HVSIM_RUN_DIR to another directory"
        )
    cgroups.remove(run.record.get("cgroups"))
    shutil.rmtree(run.path)


def release(run: RunDir) -> list[str]:
    """Remove the lab's run directory, and the base directory when it is ours and empty now.

    Returns the paths of what could not be removed.
    """
    left = cgroups.remove(run.record.get("cgroups"))
    with contextlib.suppress(FileNotFoundError), _locked(run.path.parent, create=False):
        shutil.rmtree(run.path, ignore_errors=True)
        if "HVSIM_RUN_DIR" not in os.environ and run.path.parent == base_dir():
            with contextlib.suppress(OSError):
                run.path.parent.rmdir()
    return [*left, *([str(run.path)] if run.path.exists() else [])]


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
        entries = sorted(base.iterdir())
    except OSError:
        return [], {}
    for entry in entries:
        try:
            if trust.read(entry, _RECORD) is not None:
                labs.append(RunDir(entry).read())
        except trust.Untrusted as why:
            if LAB_NAME.fullmatch(entry.name):
                strange[entry.name] = str(why)
        except OSError:
            continue
    return labs, strange


@contextlib.contextmanager
def _locked(base: Path, *, create: bool = True) -> Iterator[None]:
    """Hold the only right to add and remove labs under `base`, for a moment."""
    while True:
        if create:
            _make_base(base)
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _same_directory(base, fd):
                yield
                return
        finally:
            os.close(fd)


def _same_directory(base: Path, fd: int) -> bool:
    """False when `base` was removed (by the last lab's end) while we waited for the lock."""
    try:
        return os.path.samestat(os.stat(base), os.fstat(fd))
    except FileNotFoundError:
        return False


def _make_base(base: Path) -> None:
    """Make `base`; refuse one that another user could change under us."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = os.lstat(base)
    except OSError as error:
        raise RunDirError(
            f"{base}: {error.strerror}; set HVSIM_RUN_DIR to a directory that you may write to"
        ) from None
    if "HVSIM_RUN_DIR" in os.environ and _may_write(base):
        return
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
        raise RunDirError(
            f"{base} is not a directory of yours alone (owner uid {info.st_uid}, "
            f"mode {stat.S_IMODE(info.st_mode):o}); remove it, or set HVSIM_RUN_DIR"
        )


def _may_write(base: Path) -> bool:
    """May we make entries in `base`?"""
    if os.access(base, os.W_OK | os.X_OK):
        return True
    raise RunDirError(
        f"{base}: {os.strerror(errno.EACCES)}; set HVSIM_RUN_DIR to a directory "
        "that you may write to"
    )
