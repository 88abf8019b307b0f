"""hvsim fault kill|stall|resume DOMAIN"""

import argparse

from hvsim.commands.common import json_option, lab_option, print_json, say
from hvsim.faults.now import ACTIONS, inject
from hvsim.lab.choose import choose

HELP = """Break something, now: kill a domain's process, stall it, or let it go on.
A process of dom0 may be named like a domain: `hvsim fault kill xenstored`; so may the hypervisor.
Nobody of the lab but the hypervisor is asked for it, and for the hypervisor nobody.

""" + "\n".join(f"  {action:<7} {text}" for action, text in ACTIONS.items())
EXAMPLE = """  hvsim fault stall storage
  hvsim ps                      # who waits for whom
  hvsim fault resume storage"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("action", choices=list(ACTIONS), metavar="|".join(ACTIONS))
    parser.add_argument(
        "domain", metavar="DOMAIN", help="name or domid, a process of dom0, or hypervisor"
    )
    parser.add_argument(
        "--process",
        default="",
        metavar="NAME",
        help="which process of the domain (dom0 has several: xenstored, ...)",
    )
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: done. 1: no such lab or domain."""
    lab = choose(options.lab)
    done = inject(lab, options.action, options.domain, options.process)
    if options.json:
        print_json({"lab": lab.name, "action": options.action, "domain": options.domain, **done})
    else:
        past = {"kill": "killed", "stall": "stalled", "resume": "resumed"}[options.action]
        domid = "" if done["domid"] is None else f"domid {done['domid']}, "
        say(f"{past} {options.domain} ({domid}pid {done['pid']})")
    return 0
