"""The names of walls, and whether a process may start without some, as labs and spawners say it."""

from typing import Final

ALL: Final = "all"
WHAT_THERE_IS: Final = "what-there-is"
"""The values of ``walls`` in a lab file: nothing starts without its walls, or with what the
machine allows."""

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a domain with the machine's programs looks for them (environ(7))."""

#: What a test may leave out, to see that its test notices.
WALLS: Final = (
    "namespaces",
    "root",
    "own-uid",
    "programs",
    "dumpable",
    "limits",
    "capabilities",
    "landlock",
    "seccomp",
)
