"""Which of a person's standard descriptors a program in a domain gets as they are, and what it gets
for the others.  Pure, but for looking at what a descriptor is.

No domain ever holds a person's terminal: whoever holds one reads what is typed there later, for as
long as it lives, and may open it anew by its descriptor.  It is the kind of file that decides, not
its name: any terminal, also one that is not the controlling one, one that was hung up, the near
end of a pty.  Other devices may be somebody's keyboard: only those that are nobody's are handed
over.

What stands for a terminal is what ``ssh -t`` and ``docker exec -it`` do when a person talks with a
program, and what they do without those options when not:

    0    1    2      the program's 0, 1, 2             the person's terminal
    tty  tty  tty    terminal, terminal, terminal      raw
    tty  tty  file   terminal, terminal, given         raw
    tty  file tty    pipe, given, pipe                 as it is
    tty  file file   pipe, given, given                as it is
    file tty  tty    given, pipe, pipe                 as it is
    file tty  file   given, pipe, given                as it is
    file file tty    given, given, pipe                as it is
    file file file   given, given, given               -

"terminal" is one pseudo terminal of the program's own.  With a pipe the person's terminal keeps its
line editing, its echo and its signals: what is typed goes on by lines, Ctrl-D is the end, and the
other programs of a pipeline find their terminal as they expect it.  ``-t`` gives the program a
terminal for each of them that is one, in all cases; ``-T`` never does.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hvsim.errors import HvsimError

O_PATH: Final = 0o10000000
"""Source: linux/fcntl.h; such a descriptor opens whatever it names, at any later time."""
HARMLESS: Final = frozenset(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9))
"""null, zero, full, random, urandom (linux Documentation/admin-guide/devices.txt)."""
TERMINALS: Final = frozenset((2, 3, 4, 5, 204, 229, *range(136, 144)))
"""Major numbers of terminals, the near ends of ptys among them (the same list)."""
NAMES: Final = ("standard input", "standard output", "standard error")


class Kind(Enum):
    """What the program gets for one of 0, 1, 2."""

    GIVEN = "given"
    TERMINAL = "terminal"
    PIPE = "pipe"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a descriptor of the person's is.

    Attributes:
        terminal: a terminal.
        device: its device number when it must not be handed over, else None.
    """

    terminal: bool = False
    device: int | None = None


def look(fd: int) -> Stream | None:
    """What a descriptor is; None for one that is closed.

    Raises: HvsimError for one by which more could be opened than it is: a directory, O_PATH, a
        handle of the kernel's (pidfd, epoll, ...).
    """
    try:
        info = os.fstat(fd)
        path_only = fcntl.fcntl(fd, fcntl.F_GETFL) & O_PATH
    except OSError:
        return None
    mode = info.st_mode
    if path_only or stat.S_ISDIR(mode) or not stat.S_IFMT(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no file that can be read or written"
        raise HvsimError(
            f"{NAMES[fd]} is {what}, and a domain gets none of the machine's; "
            "use a file, a pipe or /dev/null"
        )
    if os.isatty(fd):
        return Stream(terminal=True, device=info.st_rdev)
    if stat.S_ISCHR(mode) and info.st_rdev not in HARMLESS:
        return Stream(device=info.st_rdev)
    return Stream()


def plan(streams: Sequence[Stream], wish: bool | None = None) -> tuple[Kind, Kind, Kind]:
    """What the program gets for 0, 1 and 2.

    Args:
        wish: True for ``-t``, False for ``-T``.

    Raises: HvsimError: a terminal is wished, and none of them is one.
    """
    terminals = [stream.terminal for stream in streams]
    if wish and not any(terminals):
        raise HvsimError("-t: no terminal is at standard input, output or error; leave it out")
    interactive = terminals[0] and terminals[1] if wish is None else wish
    shown = next((s.device for s in (*streams[1:], streams[0]) if s.terminal), None)

    def kind(fd: int) -> Kind:
        stream = streams[fd]
        if stream.device is None:
            return Kind.GIVEN
        # What is shown on another terminal than the rest cannot come out of the same one.
        if interactive and stream.terminal and (fd == 0 or stream.device == shown):
            return Kind.TERMINAL
        return Kind.PIPE

    return kind(0), kind(1), kind(2)
