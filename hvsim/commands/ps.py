"""hvsim ps"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.commands.common import control_of, json_option, lab_option, print_json, tell

if TYPE_CHECKING:
    import argparse

HELP = """Show a running lab: hypervisor, the programs of dom0, every domain with domid, role,
state, pid and devices, and which device waits for whom.

STATE is xl list's; WALLS names what the machine does not allow of a domain's isolation."""
EXAMPLE = """  hvsim ps
  hvsim ps --full
  hvsim ps --json | jq '.domains[] | {name, pid}'"""

NO_WORDS = {"lab": None, "json": False, "full": False}
"""What `arguments` makes of no words at all: a listing that is asked for often needs no parser."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    lab_option(parser)
    json_option(parser)
    parser.add_argument(
        "--full",
        action="store_true",
        help="also each domain's ports, the pages that others have mapped, and what it did last",
    )


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when no lab is meant or its toolstack does not answer."""
    from hvsim.lab.choose import choose
    from hvsim.observe.picture import picture
    from hvsim.observe.ps_words import lines

    lab = choose(options.lab)
    with control_of(lab) as control:
        found = picture(lab, control, full=options.full)
    if options.json:
        print_json(found)
    else:
        tell(*lines(found))
    return 0
