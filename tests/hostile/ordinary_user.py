"""Run a command as an ordinary user, when we are root.

What the command reads may lie below directories that only root may pass (a checkout or an
interpreter under /root).  In a mount namespace of its own those directories are replaced by
passable ones that hold nothing but what is needed, at the same paths; the machine outside
sees none of it, and it goes with the process.

``python -m tests.hostile.ordinary_user PATH... -- COMMAND...``
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

NOBODY: Final = 65534
#: Exit status when the machine does not let us make a mount namespace.
CANNOT: Final = 77
_CLONE_NEWNS: Final = 0x0002_0000
_MS_BIND: Final = 4096
_MS_MOVE: Final = 8192
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode())
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode()), f"mount on {target}")


def barrier(path: Path) -> Path | None:
    """The first directory on the way to a path that others may not pass."""
    for step in reversed([path, *path.parents]):
        if step.is_dir() and not step.stat().st_mode & 0o001:
            return step
    return None


def make_reachable(paths: list[Path]) -> None:
    """Open the way to some paths, in this process and its children only.

    Raises:
        OSError: we may not make a mount namespace.
    """
    behind: dict[Path, list[Path]] = {}
    for path in sorted({path.resolve() for path in paths}):
        wall = barrier(path)
        if wall is not None and not any(
            path.is_relative_to(other) for other in behind.get(wall, ())
        ):
            behind.setdefault(wall, []).append(path)
    if not behind:
        return
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    # /mnt exists everywhere; in here it is ours, to park the mounts in.
    _mount("tmpfs", "/mnt", "tmpfs", 0, "mode=700")
    for wall, kept in behind.items():
        for number, path in enumerate(kept):
            spot = f"/mnt/{number}"
            os.mkdir(spot)
            _mount(str(path), spot, "none", _MS_BIND | _MS_REC)
        _mount("tmpfs", str(wall), "tmpfs", 0, "mode=755")
        for number, path in enumerate(kept):
            path.mkdir(parents=True)
            _mount(f"/mnt/{number}", str(path), "none", _MS_MOVE)
            os.rmdir(f"/mnt/{number}")


def main() -> None:
    """Drop to nobody and become the command."""
    split = sys.argv.index("--")
    try:
        make_reachable([Path(path) for path in sys.argv[1:split]])
    except OSError as error:
        print(error)
        sys.exit(CANNOT)
    command = sys.argv[split + 1 :]
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
