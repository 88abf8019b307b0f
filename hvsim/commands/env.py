"""hvsim env"""

import argparse
import shlex

from hvsim.commands.common import json_option, lab_option, print_json, say

HELP = """Print export lines that point other programs at a running lab.

XENSTORED_PATH makes Debian's xenstore-ls, xenstore-read ... show the lab's store; HVSIM_LAB
makes this lab the one that every later hvsim command addresses."""
EXAMPLE = """  eval "$(hvsim env)"
  xenstore-ls -f -p"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    lab_option(parser)
    json_option(parser)
    parser.add_argument("--shell", choices=("sh", "fish"), default="sh",
                        help="whose syntax (default: sh, which bash and zsh read too)")


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when no lab is meant."""
    from hvsim.lab.choose import choose

    lab = choose(options.lab)
    values = {
        "HVSIM_LAB": lab.name,
        "XENSTORED_PATH": str(lab.xenstored),
        "XENSTORED_RUNDIR": str(lab.xenstored.parent),
        "HVSIM_LAB_DIR": str(lab.path),
    }
    if options.json:
        print_json(values)
        return 0
    for key, value in values.items():
        if options.shell == "fish":
            say(f"set -gx {key} {shlex.quote(value)};")
        else:
            say(f"export {key}={shlex.quote(value)}")
    return 0
