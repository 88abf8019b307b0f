"""hvsim exec DOMAIN -- COMMAND ..."""

import argparse

from hvsim.commands.common import control_of, lab_option, warn
from hvsim.lab.choose import choose

HELP = """Run a program of this machine in a domain: with the domain's network, its rights in
xenstore, and Xen's device nodes. Its exit status is that of the program (128 + n after signal n;
127: there is no such program). It ends with this command, with the domain, or with the lab; what
a program of Domain-0 has put into the background ends with the lab.

No program gets your terminal, Domain-0's no more than a guest's. When standard input and output
are a terminal it has one of its own, as with ssh -t: every key goes there, and ~. at the beginning
of a line hangs up. Otherwise what is a terminal of yours is a pipe for it: you type lines, Ctrl-D
is the end, Ctrl-C a signal. Files and pipes it gets as they are."""
EXAMPLE = """  hvsim exec web-frontend -- ping -c 3 db-primary
  hvsim exec web-frontend -- xenstore-ls
  hvsim exec Domain-0 -- xl list
  hvsim exec web-frontend -- bash
  hvsim exec web-frontend -- tar c /etc > etc.tar
  hvsim exec -t web-frontend -- bash | tee session.log"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    lab_option(parser)
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one more variable of its environment",
    )
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument(
        "-t",
        dest="terminal",
        action="store_true",
        default=None,
        help="a terminal of its own for whichever of 0, 1 and 2 is one, also when others are not",
    )
    wish.add_argument(
        "-T",
        dest="terminal",
        action="store_false",
        default=None,
        help="no terminal of its own in any case",
    )
    parser.add_argument("domain", metavar="DOMAIN", help="name or domid; Domain-0 has no walls")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the program and its words"
    )


def run(options: argparse.Namespace) -> int:
    """The program's status; 2 without a program, 1 when it could not be begun."""
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words or not words[0]:
        warn("hvsim exec: no command; write `hvsim exec DOMAIN -- COMMAND ...`")
        return 2
    for entry in options.env:
        if "=" not in entry[1:]:
            warn(f"hvsim exec: --env {entry}: write --env KEY=VALUE")
            return 2
    from hvsim.lab.execute import execute

    lab = choose(options.lab)
    if lab.record.get("lockstep"):
        warn(
            f"hvsim exec: lab {lab.name} is in lockstep, and a program of the machine takes no "
            "turns; bring the lab up without --lockstep"
        )
        return 1
    more = dict(entry.split("=", 1) for entry in options.env)
    with control_of(lab) as control:
        done = execute(lab, control, options.domain, words, more, options.terminal)
    if done.text:
        warn(f"hvsim exec: {done.text}")
    return done.status
