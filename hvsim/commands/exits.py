"""Exit codes of `hvsim`: what they mean whichever verb it was.  What 0 and 1 mean to a verb is said
by its `run`."""

from typing import Final

EXITS: Final[dict[int, str]] = {
    0: "done",
    1: "refused, or failed; one line on standard error says why and what helps",
    2: "wrong usage: no such verb or option",
    70: "a fault of ours; the line names a file with the details (HVSIM_DEBUG=1 shows them)",
    130: "interrupted (Ctrl-C)",
    141: "the reader of the output has gone (`| head`), as after SIGPIPE",
    143: "ended by SIGTERM or SIGHUP, as tidily as by Ctrl-C",
}
"""`hvsim exec` ends with the status of the program, `hvsim xl` with xl's, and `hvsim xenstore` with
that of the xenstore-* tools."""
