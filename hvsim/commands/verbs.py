"""The verbs of `hvsim`.

Each is a module beside this one, with HELP, EXAMPLE, `arguments(parser)` and `run(options)`, which
returns the exit code; those of RAW have `run_raw(words)` in place of the latter two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from hvsim.commands.parser import Parser

COMMANDS = {
    "validate": "check a lab file, start nothing",
    "up": "bring a lab up and wait until it is ready",
    "down": "end a lab, leave nothing behind",
    "labs": "the labs of this user",
    "ps": "every process, domain and device of a lab, and who waits for whom",
    "logs": "what a domain wrote on its console, and why it has crashed",
    "env": "export lines for a shell: XENSTORED_PATH and others",
    "events": "what the hypervisor decided, so far and from now on",
    "xl": "the toolstack: list, create, destroy, shutdown, console, ...",
    "xenstore": "the store: ls, read, write, list, rm, watch",
    "exec": "run a program of this machine in a domain",
    "capture": "the frames of a vif into a pcapng file, for tshark and Wireshark",
    "device": "attach or detach a device of the lab's own kind",
    "fault": "kill, stall or resume a domain",
    "doctor": "who keeps whom waiting, since when and why, and what helps",
    "run": "run a scenario: a lab, what is broken when, and what must hold",
    "explore": "run a scenario in many orders, and write down what fails",
    "postmortem": "what is known of a lab that failed",
    "demo": "a database that survives its storage domain",
    "completion": "what makes a shell complete all of this",
}
RAW = ("xl", "xenstore")
"""Commands that get their words as they are: they have a syntax of their own."""


def parser_of(verb: str, module: ModuleType) -> Parser:
    """The parser of one verb, with its help and example."""
    from hvsim.commands.parser import Parser

    parser = Parser(
        prog=f"hvsim {verb}",
        description=module.HELP,
        epilog=f"example:\n{module.EXAMPLE}",
        allow_abbrev=False,
    )
    module.arguments(parser)
    return parser
