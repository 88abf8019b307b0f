"""The wire of ``hvsim exec``: between the command that a person typed and the process that runs a
program in a domain.  One ``SOCK_SEQPACKET`` connection, msgpack, one message a packet.

    {"streams": [kind, kind, kind], "modes": ..., "size": [rows, columns]} + descriptors
                                      command -> process, first: what the program's 0, 1, 2 are
    ["in", bytes]                     typed
    ["size", rows, columns]           of the person's window
    ["signal", number]                for the program

    ["out", bytes]                    process -> command: what its terminal shows
    ["took", count]                   so many bytes of "in" have found room
    ["exit", status]                  the program has ended
    ["failed", status, text]          it could not be begun

"modes" are those of the person's terminal, as ``termios.tcgetattr`` has them, or None.

Neither side holds a descriptor of the other's but those streams of the program that are "given":
files, pipes and sockets of the person's.  Each side takes the other for hostile.
"""

from __future__ import annotations

from typing import Final

GIVEN: Final = "given"
"""A stream whose descriptor came with the message."""
TERMINAL: Final = "terminal"
"""A stream that is the program's own terminal, made in the domain."""

MESSAGE_MAX: Final = 16 * 1024
"""Bytes of a message."""
CHUNK: Final = 4096
"""Bytes that "in" and "out" carry at most."""
WINDOW: Final = 64 * 1024
"""Bytes of "in" that may be on their way; whoever sends more is not served."""
