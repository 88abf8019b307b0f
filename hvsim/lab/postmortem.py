"""Where the evidence of labs that failed is kept: a folder each, the last few of them.

    $HVSIM_STATE_DIR, or $XDG_STATE_HOME/hvsim, or ~/.local/state/hvsim, or /tmp/hvsim-<uid>-state
      post-mortem/              of this user alone (mode 0700)
        <number>-<lab>/         the newest KEEP; an older one is removed for each that comes
          post-mortem.json      which lab, when, why
          ...                   what ``hvsim.observe.autopsy`` has found

It is no part of a run directory: that is on a file system which may be full, is lost at logout, and
is gone when the lab is.  A number is never given again as long as a later folder is there.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hvsim.errors import HvsimError
from hvsim.lab import trust

KEEP: Final = 10
"""Folders that are kept."""
FILE_MAX: Final = 256 * 1024
"""Bytes of a file; of one that is longer the end is kept."""
FILES_MAX: Final = 64
"""Files of a folder, so that one is at most 16 MiB, and all are at most 160."""
WHY_MAX: Final = 200
"""Lines of a reason."""
ABOUT: Final = "post-mortem.json"
_NAME: Final = re.compile(r"(\d{1,9})-([A-Za-z0-9][A-Za-z0-9_.-]{0,31})")
_CUT: Final = b"[the beginning was left out]\n"


@dataclass(frozen=True, slots=True)
class Postmortem:
    """The evidence of one lab.

    Attributes:
        when: seconds since 1970.
        why: lines of the text that a user was told.
    """

    number: int
    lab: str
    path: Path
    when: float
    why: tuple[str, ...]
    lab_file: str

    @property
    def files(self) -> list[str]:
        """What is in the folder, by name relative to it."""
        found = [entry for entry in self.path.rglob("*") if entry.is_file()]
        return sorted(str(entry.relative_to(self.path)) for entry in found)

    def text(self, name: str) -> bytes:
        """The contents of one of its files, b"" for one that is not there."""
        folder, _, leaf = name.rpartition("/")
        try:
            return trust.read(self.path / folder, leaf) or b""
        except OSError:
            return b""


def home() -> Path:
    """The directory of all post-mortems of this user."""
    return _state_dir() / "post-mortem"


def _state_dir() -> Path:
    if explicit := os.environ.get("HVSIM_STATE_DIR"):
        return Path(explicit).absolute()
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state).absolute() / "hvsim"
    own = Path(os.environ.get("HOME") or "/nonexistent")
    if own.is_absolute() and os.access(own, os.W_OK | os.X_OK):
        return own / ".local" / "state" / "hvsim"
    return Path(f"/tmp/hvsim-{os.getuid()}-state")


def keep(
    lab: str,
    lab_file: str,
    why: Sequence[str],
    files: Mapping[str, bytes],
    base: Path | None = None,
) -> Postmortem:
    """Write a folder, and remove those that are too old; *files* by their names relative to it.

    Raises: Untrusted: somebody else can change what is kept there; OSError: it cannot be written.
    """
    base = base or home()
    about = {"lab": lab, "lab_file": lab_file, "when": time.time(), "why": list(why)[:WHY_MAX]}
    with _locked(base):
        known = _numbered(base)
        number = max(known, default=0) + 1
        path = base / f"{number}-{lab}"
        fresh = base / f".{number}-{lab}"  # of a former attempt that was killed
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            _write(fresh / ABOUT, json.dumps(about, indent=2).encode())
            for name in list(files)[:FILES_MAX]:
                _write(fresh / name, files[name])
            os.rename(fresh, path)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        for old in sorted(known)[: max(0, len(known) + 1 - KEEP)]:
            shutil.rmtree(known[old], ignore_errors=True)
    return Postmortem(number, lab, path, about["when"], tuple(about["why"]), lab_file)  # type: ignore[arg-type]


def all_kept(base: Path | None = None) -> list[Postmortem]:
    """Every post-mortem, the newest first.  Raises: Untrusted."""
    base = base or home()
    with contextlib.suppress(FileNotFoundError):
        trust.check(base, os.lstat(base), directory=True)
    found = []
    for number, path in sorted(_numbered(base).items(), reverse=True):
        with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            found.append(_read(number, path))
    return found


def find(number: int, base: Path | None = None) -> Postmortem:
    """Raises: HvsimError, Untrusted."""
    known = all_kept(base)
    for one in known:
        if one.number == number:
            return one
    there = f"there are {', '.join(str(one.number) for one in known)}" if known else "there is none"
    raise HvsimError(f"no post-mortem {number} in {base or home()}; {there}")


def _read(number: int, path: Path) -> Postmortem:
    about: Any = json.loads(trust.read(path, ABOUT) or b"null")
    lab, lab_file, why = about["lab"], about["lab_file"], tuple(map(str, about["why"]))
    return Postmortem(number, str(lab), path, float(about["when"]), why, str(lab_file))


def _numbered(base: Path) -> dict[int, Path]:
    try:
        entries = list(base.iterdir())
    except OSError:
        return {}
    matches = [(_NAME.fullmatch(entry.name), entry) for entry in entries]
    return {int(match[1]): entry for match, entry in matches if match is not None}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data if len(data) <= FILE_MAX else _CUT + data[len(_CUT) - FILE_MAX :])


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Hold the only right to add and remove, in a directory of this user alone."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        trust.check(base, os.fstat(fd), directory=True)
        os.fchmod(fd, 0o700)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
