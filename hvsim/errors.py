"""How things fail here: a handful of words that every room uses.

Whoever catches one of these knows what to do next, without knowing who raised it:

    Closed           we have closed it ourselves: stop, nothing is wrong
    ClosedByPeer     the other side went away: begin anew with whoever comes, or give up
    BrokenByPeer     the other side did what no honest one does: use it no more, say so
    Refused          somebody who may say no has said it, with an errno: tell who asked
    TimedOut         a bounded wait has ended without what it waited for: look who stands still
    HvsimError       something that a person has to mend: print its lines, exit 1

A class of its own, below one of these, is for what some caller tells apart.
"""

from typing import Final

__all__ = ["BrokenByPeer", "Closed", "ClosedByPeer", "HvsimError", "Refused", "TimedOut"]


class Closed(Exception):
    """It was closed by us, before or while this was asked of it; nothing was done."""


class ClosedByPeer(Exception):
    """The other side has closed it, or has died; what was not answered may have been done."""


class BrokenByPeer(Exception):
    """The other side did what no honest side does; the text says what.

    What it shares with us is not to be used any more.
    """


class Refused(OSError):
    """Somebody said no.

    Attributes:
        errno: a positive number (of Xen's, where Xen has one for it).
        strerror: what was refused and why, in words.
    """


class TimedOut(TimeoutError):
    """A bounded wait has ended without what it waited for.

    Attributes:
        what: what was waited for, in words.
        seconds: how long.
    """

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"waited {seconds:g} s for {what}")
        self.what = what
        self.seconds = seconds


class HvsimError(Exception):
    """A refusal that a person can act on: its text names the place and the remedy.

    Attributes:
        lines: of the text.  A line break within one is somebody else's and shown as such.
    """

    exit_code: Final = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
