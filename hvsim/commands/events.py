"""hvsim events"""

import argparse

from hvsim.commands.common import json_option, lab_option, tell
from hvsim.errors import HvsimError
from hvsim.speak import say_json

HELP = """Print the hypervisor's ledger: what it decided, allowed, refused, and why.

Prints what the hypervisor still has; with --follow goes on with what comes, until the lab ends
or Ctrl-C. --json prints one object a line."""
EXAMPLE = """  hvsim events --follow
  hvsim events --json | jq 'select(.kind == "domain")'"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what comes")
    parser.add_argument("--domain", type=int, metavar="DOMID", help="only about this domain")
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when no lab is meant."""
    from hvsim.lab.choose import choose
    from hvsim.lab.door import DoorError
    from hvsim.lab.inquiry import Inquiry
    from hvsim.observe.events import follow, line, snapshot

    lab = choose(options.lab)
    records = follow(lab) if options.follow else snapshot(lab)
    try:
        for record in records:
            if options.domain is not None and record.get("domid") != options.domain:
                continue
            if options.json:
                say_json(record, indent=None)
            else:
                tell(line(record))
    except DoorError:
        still = Inquiry(lab).hypervisor()
        if still is None:
            raise
        if still.what != "dead":
            raise HvsimError(f"events: {still.text}") from None
    return 0
