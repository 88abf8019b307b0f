"""What a domain may be called.  Pure.

Its name is a file's name (its console, its log), a word of command lines, and stands in listings.
A real host takes nearly anything; here it must not be taken for something else.
"""

from __future__ import annotations

import re
from typing import Final

from hvsim.printable import printable

NAME_MAX: Final = 128
"""Bytes."""
OF_DOM0: Final = frozenset(
    {"Domain-0", "hypervisor", "spawner", "xenstored", "kernel", "xenconsoled", "toolstack", "exec"}
)
"""Processes and logs of dom0, which commands name as they name domains."""
_KINDS: Final = re.compile(r"exec-[0-9]+|qemu-.*|oxenstored.*")
"""Programs of ``hvsim exec``, QEMUs and their logs, what oxenstored writes."""


DOMID_MAX: Final = 0xFFFF_FFFF
"""What a number that no domain can have becomes; xl keeps a domid in 32 bits as well."""


def number(text: str) -> int | None:
    """The domid that a word of a command line is, None for a name.  As in xl a number stands for
    itself, whether there is such a domain or not."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text.lstrip("0")[:11] or "0"), DOMID_MAX)


def fault(name: str) -> str | None:
    """Why a domain cannot be called so, and what to do; None when it can."""
    if not name:
        return "it is empty; give it one"
    if len(name.encode("utf-8", "surrogateescape")) > NAME_MAX:
        return f"it is longer than {NAME_MAX} bytes; shorten it"
    if printable(name) != name or "/" in name or name in (".", ".."):
        return "use printable characters without '/'"
    if name.isdecimal():
        return "a number is a domid to every command; put a letter into it"
    if name in OF_DOM0 or _KINDS.fullmatch(name):
        return "a part of dom0 is called so, its log as well; give it another"
    return None
