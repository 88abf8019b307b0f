"""Run a command on this machine without anything of it that is optional.

``python -m tests.support.bare [--without-compiler] [-- COMMAND WORD...]``

In a mount namespace of the command's own every file of the Debian packages that
``tests.support.optional`` names is gone from /usr (an overlay with whiteouts), and so are
/dev/net/tun and whatever else those tables still find; what has an absolute path built in finds
nothing either.  Before the command starts all of it is looked for once more: what can still be seen
ends the run with 70.  Nothing outside of the namespace changes, and nothing is left.

As root this takes a mount namespace; for an ordinary user one within a user namespace, in which the
command is the same user again.  Where the machine allows neither the exit status is 77.

The files of optional packages outside /usr (their settings in /etc) stay, but for directories that
are theirs alone: nobody looks for a program there.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from tests.support import optional
from tests.support.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    mount,
    umount,
    unshare,
)

CANNOT: Final = 77
"""Exit status when the machine makes no such namespaces."""
STILL_THERE: Final = 70
"""Exit status when something optional can be seen yet."""
USR: Final = Path("/usr")
SPOT: Final = "/mnt"
"""Exists everywhere; in here it is ours, to build the whiteouts in."""
_DPKG: Final = Path("/var/lib/dpkg/info")
_WHITEOUT: Final = 0o020000
"""A character device 0:0, which any user may make."""


def main() -> None:
    """Hide, look, and become the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.bare")
    parser.add_argument("--without-compiler", action="store_true", help="nor any C compiler")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    options = parser.parse_args()
    compiler = options.without_compiler
    try:
        enter()
        hide(owned_paths(compiler), found_paths(compiler))
    except OSError as error:
        print(f"this machine makes no machine without optional things: {error}", file=sys.stderr)
        sys.exit(CANNOT)
    left = optional.everything(compiler)
    for name, where in left.items():
        print(f"still visible: {name} at {where}", file=sys.stderr)
    if left:
        sys.exit(STILL_THERE)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if command:
        os.execvp(command[0], command)
    print("nothing optional can be seen")


def enter() -> None:
    """A mount namespace of our own, from which nothing spreads.  Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        unshare(CLONE_NEWNS)
    else:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def hide(owned: set[Path], found: set[Path]) -> None:
    """Take these paths out of what this process and its children see.  Raises OSError."""
    within = {path.parent.resolve() / path.name for path in owned | found}
    here = {path for path in within if os.path.lexists(path)}
    in_usr = {path for path in here if path.is_relative_to(USR)}
    if in_usr:
        mount("tmpfs", SPOT, "tmpfs", 0, "mode=755")
        for path in in_usr:
            if not in_usr.isdisjoint(path.parents):
                continue  # it goes with its directory
            whiteout = Path(SPOT) / path.relative_to("/")
            whiteout.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(whiteout, _WHITEOUT, os.makedev(0, 0))
        mount("overlay", str(USR), "overlay", MS_RDONLY, f"lowerdir={SPOT}{USR}:{USR}")
        umount(SPOT, MNT_DETACH)
    for path in sorted(here - in_usr):
        if path.is_dir():
            mount("tmpfs", str(path), "tmpfs", MS_RDONLY, "mode=755")
        elif str(path) in optional.DEVICES:
            mount("tmpfs", str(path.parent), "tmpfs", MS_RDONLY, "mode=755")
        elif path in found:
            mount(os.devnull, str(path), "none", MS_BIND)  # which nobody can execute


def found_paths(compiler: bool) -> set[Path]:
    """Wherever the tables find something, and programs wherever they would look next."""
    folders = optional.search_path().split(os.pathsep)
    programs = optional.PROGRAMS.keys() - (() if compiler else optional.COMPILERS)
    again = {Path(folder, name) for name in programs for folder in folders}
    return again | set(map(Path, optional.everything(compiler).values()))


def owned_paths(compiler: bool) -> set[Path]:
    """The files and directories that belong to optional packages of Debian and to no other."""
    ours, others = set[str](), set[str]()
    names = set(optional.packages(compiler))
    for listing in sorted(_DPKG.glob("*.list")) if _DPKG.is_dir() else []:
        package = listing.stem.partition(":")[0]  # libxen-dev:amd64
        if package.startswith("xen-utils-4."):  # whichever version this Debian has
            package = optional.XEN_UTILS
        paths = listing.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        (ours if package in names else others).update(paths)
    return {Path(path) for path in ours - others}


if __name__ == "__main__":
    main()
