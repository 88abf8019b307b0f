"""hvsim device attach|detach DOMAIN DEVICE"""

import argparse

from hvsim.commands.common import control_of, json_option, lab_option, print_json, say, warn
from hvsim.lab.choose import choose
from hvsim.wire.lab_requests import Device

HELP = """Attach a device of a kind that the lab declares ([[device]]) to a domain that runs, or
take one away. Disks and interfaces are xl's: hvsim xl block-attach, network-attach.

DEVICE is a kind to attach ("vrng"), a device to detach ("vrng0"), as hvsim ps shows it."""
EXAMPLE = """  hvsim device detach guest vrng0
  hvsim device attach guest vrng
  hvsim device attach guest vrng --from entropy"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("action", choices=("attach", "detach"))
    parser.add_argument("domain", metavar="DOMAIN", help="name or domid")
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument(
        "--from",
        dest="served_by",
        metavar="DOMAIN",
        help="the driver domain that serves it (default: as the domain's others)",
    )
    parser.add_argument(
        "--force", action="store_true", help="detach it whether the domain lets go of it or not"
    )
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: done. 1: no such lab, domain or device, or it did not come, or go, in time."""
    with control_of(choose(options.lab)) as control:
        answer = control.request(
            Device(
                action=options.action,
                domain=options.domain,
                device=options.device,
                served_by=options.served_by,
                force=options.force,
            )
        )
    if answer.exit:
        warn(*answer.errors)
        return answer.exit
    if options.json:
        print_json(answer.data)
    else:
        say(f"{options.action}ed {answer.data['device']}", *answer.data.get("said", ()))
    return 0
