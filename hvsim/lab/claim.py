"""A run directory is made for a lab, and removed after it; one that a dead lab left is taken over.

Whoever does either holds a lock on the directory of all labs for that moment.  Under the lab's name
there is a whole directory, with its record, or none: it is made, and removed, as ``.NAME``.  Who is
killed in the middle of that leaves this one, and the next lab of the name, if there is one, clears
it away.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hvsim import shortage
from hvsim.errors import HvsimError
from hvsim.lab import cgroups
from hvsim.lab.fitness import unfit_name
from hvsim.lab.place import furnish
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import LAST_WORDS, RunDir, base_dir


def claim(name: str, lab_file: str, base: Path | None = None) -> RunDir:
    """Make the run directory of lab `name` and record this process as the one that starts it.

    A directory left by a dead lab is taken over: its record names processes that are gone.
    Raises HvsimError when that lab runs or is being started, HvsimError when the directory
    cannot be used or its socket paths would be longer than the kernel takes.
    """
    base = base or base_dir()
    unfit = unfit_name(name, base)
    if unfit is not None:
        raise HvsimError("; ".join(unfit))
    run = RunDir(base / name)
    with _locked(base):
        if run.path.exists():
            _reclaim(run)
        made = RunDir(_aside(run))
        _clear(made.path)
        if os.path.lexists(made.path):
            raise HvsimError(
                f"{made.path} is left of an earlier lab and cannot be removed: is something "
                "mounted in it, or somebody else's? Remove it, or use --name OTHER"
            )
        try:
            _make(made, run, lab_file)
            os.rename(made.path, run.path)
        except OSError as error:
            raise HvsimError(shortage.words(error, str(base))) from None
        finally:
            _clear(made.path)
    run.record = made.record
    return run


def _aside(run: RunDir) -> Path:
    """Where its directory is before it is whole, and after it was."""
    return run.path.with_name(f".{run.name}")


def _clear(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _make(made: RunDir, run: RunDir, lab_file: str) -> None:
    """What will be *run*.  Raises: OSError."""
    me = Identity.of(os.getpid())
    assert me is not None
    made.path.mkdir(mode=0o700)
    for part in (made.xenstored.parent, made.zmq, made.console, made.log, made.images):
        part.mkdir(mode=0o700)
    furnish(made.place, run.xenstored.parent)
    _reserve(made.obituary)
    made.write(
        format=1,
        name=run.name,
        mark=secrets.token_hex(16),
        lab_file=lab_file,
        state="starting",
        created=time.time(),
        launcher=me.record(),
        hypervisor=None,
    )


def _reserve(obituary: Path) -> None:
    """Room for the last words: a disk that is full then must not swallow them."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(obituary, flags, 0o600), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, LAST_WORDS)


def _reclaim(run: RunDir) -> None:
    run.read()
    if run.running:
        raise HvsimError(
            f"lab {run.name!r} runs already (hypervisor pid {run.record['hypervisor']['pid']}); "
            f"end it with `hvsim down {run.name}`, or start this one beside it with --name OTHER"
        )
    if run.busy:
        raise HvsimError(
            f"lab {run.name!r} is being started by pid "
            f"{run.record['launcher']['pid']}; wait for it, or use --name OTHER"
        )
    if not run.record and any(run.path.iterdir()):
        raise HvsimError(
            f"{run.path} holds files that no lab wrote; move them away, "
            "or set HVSIM_RUN_DIR to another directory"
        )
    cgroups.remove(run.record.get("cgroups"))
    _discard(run)


def _discard(run: RunDir) -> None:
    """Nothing of it is left, also when Ctrl-C comes in the middle (whoever then looks for the lab
    finds none)."""
    aside = _aside(run)
    _clear(aside)
    try:
        with contextlib.suppress(OSError):  # it has gone, or something is mounted on it
            os.rename(run.path, aside)
        _clear(run.path)
    finally:
        try:
            _clear(aside)
        except BaseException:
            _clear(aside)
            raise


def release(run: RunDir) -> list[str]:
    """Remove the lab's run directory, and the base directory when it is ours and empty now.

    Returns the paths of what could not be removed.
    """
    left = [*cgroups.remove(run.record.get("cgroups"))]
    with contextlib.suppress(FileNotFoundError), _locked(run.path.parent, create=False):
        _discard(run)
        left += [str(path) for path in (run.path, _aside(run)) if path.exists()]
        if "HVSIM_RUN_DIR" not in os.environ and run.path.parent == base_dir():
            with contextlib.suppress(OSError):
                run.path.parent.rmdir()
    return left


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
        raise HvsimError(
            f"{base}: {error.strerror}; set HVSIM_RUN_DIR to a directory that you may write to"
        ) from None
    if "HVSIM_RUN_DIR" in os.environ and _may_write(base):
        return
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
        raise HvsimError(
            f"{base} is not a directory of yours alone (owner uid {info.st_uid}, "
            f"mode {stat.S_IMODE(info.st_mode):o}); remove it, or set HVSIM_RUN_DIR"
        )


def _may_write(base: Path) -> bool:
    """May we make entries in `base`?"""
    if os.access(base, os.W_OK | os.X_OK):
        return True
    raise HvsimError(
        f"{base}: {os.strerror(errno.EACCES)}; set HVSIM_RUN_DIR to a directory "
        "that you may write to"
    )
