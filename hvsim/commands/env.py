"""hvsim env"""

import argparse
import shlex
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, lab_option, print_json, warn
from hvsim.lab.our_store import needs_our_store
from hvsim.speak import say_exactly

if TYPE_CHECKING:
    from hvsim.commands.rows import EnvRow

HELP = """Print export lines that point other programs at a running lab.

XENSTORED_PATH makes Debian's xenstore-ls, xenstore-read ... show the lab's store; HVSIM_LAB
makes this lab the one that every later hvsim command addresses. With --as, the same programs act
as that domain: its home directory, its rights, its quotas."""
EXAMPLE = """  eval "$(hvsim env)"
  xenstore-ls -f -p
  (eval "$(hvsim env --as web-frontend)"; xenstore-read name)"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    lab_option(parser)
    json_option(parser)
    parser.add_argument(
        "--as",
        dest="who",
        metavar="DOMAIN",
        help="let the store's clients act as this domain (name or domid)",
    )
    parser.add_argument(
        "--shell",
        choices=("sh", "fish"),
        default="sh",
        help="whose syntax (default: sh, which bash and zsh read too)",
    )


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when no lab is meant, or no such domain runs in it."""
    from hvsim.lab.choose import choose

    lab = choose(options.lab)
    socket = lab.xenstored
    if options.who is not None:
        needs_our_store(lab, "hvsim env --as")
        from hvsim.lab.inquiry import Inquiry
        from hvsim.xs.act_as import NoSuchDomain, socket_of

        try:
            socket = socket_of(lab.xenstored, options.who, Inquiry(lab).store_words)
        except NoSuchDomain as error:
            warn(f"hvsim env: {error} in lab {lab.name}")
            return 1
    values: EnvRow = {
        "HVSIM_LAB": lab.name,
        "XENSTORED_PATH": str(socket),
        "XENSTORED_RUNDIR": str(lab.xenstored.parent),
        "HVSIM_LAB_DIR": str(lab.path),
    }
    if options.json:
        print_json(values)
        return 0
    for key, value in values.items():
        if options.shell == "fish":
            say_exactly(f"set -gx {key} {shlex.quote(str(value))};")
        else:
            say_exactly(f"export {key}={shlex.quote(str(value))}")
    return 0
