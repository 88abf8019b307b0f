"""Names of domains, the words that mean dom0, and numbers in place of a name."""

import re
from typing import Final

from hvsim.printable import printable

DOM0: Final = "Domain-0"
MAX: Final = 128
"""Bytes."""
DOMID_MAX: Final = 0xFFFF_FFFF
"""What a number that no domain can have becomes; xl keeps a domid in 32 bits as well."""
OF_DOM0: Final = frozenset(
    {DOM0, "hypervisor", "spawner", "xenstored", "kernel", "xenconsoled", "toolstack", "exec"}
)
"""Processes and logs of dom0, which commands name as they name domains."""
_KINDS: Final = re.compile(r"exec-[0-9]+|qemu-.*|oxenstored.*")
"""Programs of ``hvsim exec``, QEMUs and their logs, what oxenstored writes."""
_DOM0_WORDS: Final = ("", "0", DOM0)


def is_dom0(text: str | None) -> bool:
    """Whether *text*, as in ``backend=``, means dom0; nothing at all does as well."""
    return text is None or text in _DOM0_WORDS


def number(text: str) -> int | None:
    """The domid that a word of a command line is, None for a name.  As in xl a number stands for
    itself, whether there is such a domain or not."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text.lstrip("0")[:11] or "0"), DOMID_MAX)


def unfit(text: str) -> tuple[str, str] | None:
    """Why no domain can be called *text*, and what to do; None when one can.

    A name is a file's name (its console, its log), a word of command lines, and stands in listings.
    A real host takes nearly anything; here it must not be taken for something else.
    """
    if not text:
        return "the name is empty", "give it one"
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > MAX:
        return f"the name has {size} bytes: it is longer than {MAX} bytes", "shorten it"
    if printable(text) != text:
        return (
            f"the name {text!r} has characters that cannot be printed",
            "use printable characters without '/'",
        )
    if "/" in text or text in (".", ".."):
        return (
            f"the name {text!r} cannot be that of a file",
            "use printable characters without '/'",
        )
    if text.isdecimal():
        return f"the name {text!r}: a number is a domid to every command", "put a letter into it"
    if text in OF_DOM0 or _KINDS.fullmatch(text):
        return f"the name {text!r}: a part of dom0 is called so", "give it another"
    return None
