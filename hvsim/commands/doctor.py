"""hvsim doctor [DOMAIN or DEVICE]"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, lab_option, print_json, tell
from hvsim.errors import HvsimError

if TYPE_CHECKING:
    import argparse

HELP = """Say who keeps whom waiting, since when and why, and what helps. Each cause is named once,
with all who wait behind it: a process that is stopped, a domain that is paused or dead, a handshake
or a ring that has come to a stop, a doorbell that was lost, a limit of the store, pages that
somebody keeps, a rule of a fault.

It answers whatever stands still: the hypervisor, the store or the toolstack, too. With
--post-mortem it looks at what is left of a lab that failed (see `hvsim postmortem`)."""
EXAMPLE = """  hvsim doctor
  hvsim doctor web-frontend/xvda
  hvsim doctor --json | jq -r '.findings[] | .text, .cure'
  hvsim doctor --post-mortem 3"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument(
        "about",
        nargs="?",
        default="",
        metavar="DOMAIN",
        help="name or domid of a domain, a device of one (web/xvda), or a process of dom0: of "
        "these only, with the evidence",
    )
    parser.add_argument(
        "--post-mortem",
        metavar="N|PATH",
        help="look at a post-mortem, by its number or its folder",
    )
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0, whatever is found. 1: no such lab, domain, device or folder."""
    from hvsim.observe.diagnosis.told import told

    if options.post_mortem is not None:
        if options.lab is not None:
            raise HvsimError("hvsim doctor: --lab and --post-mortem exclude each other")
        from hvsim.observe.diagnosis.remains import facts_of

        row = told(facts_of(options.post_mortem), options.about, "post-mortem")
    else:
        from hvsim.lab.choose import choose
        from hvsim.observe.diagnosis.looking import look

        row = told(look(choose(options.lab)), options.about)
    if options.json:
        print_json(row)
    else:
        from hvsim.observe.diagnosis.words import lines

        tell(*lines(row, bool(options.about)))
    return 0
