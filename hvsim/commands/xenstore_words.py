"""The words of ``hvsim xenstore``: those of Debian's xenstore-* tools, and what is ours."""

from __future__ import annotations

import argparse
from typing import NoReturn

from hvsim.commands import xenstore_update as update_command
from hvsim.commands.common import lab_option
from hvsim.commands.parser import Parser
from hvsim.speak import warn

VERBS = {
    "ls": "show a tree",
    "read": "print values",
    "write": "set values",
    "list": "names below a node",
    "rm": "remove nodes",
    "watch": "print paths that change",
    "control": "ask the daemon",
    "live-update": "replace the daemon while the lab runs",
    "timeline": "the handshakes of devices, both halves side by side",
}


class _Parser(Parser):
    """Usage errors go to stderr with exit status 1, as the real tools do."""

    def error(self, message: str) -> NoReturn:
        warn(*self.format_usage().removesuffix("\n").split("\n"), f"{self.prog}: {message}")
        raise SystemExit(1)


def _verb(verbs: argparse._SubParsersAction[_Parser], name: str, example: str) -> _Parser:
    told = f"{VERBS[name][0].upper()}{VERBS[name][1:]}."
    shown = f"example:\n  hvsim xenstore {example}"
    return verbs.add_parser(name, help=VERBS[name], description=told, epilog=shown)


def parser() -> Parser:
    """Of all verbs but `timeline`, which is no tool of Xen's."""
    parser = _Parser(
        prog="hvsim xenstore", description="Look at and change the running lab's store."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    ls = _verb(verbs, "ls", "ls -f -p /local/domain/1")
    ls.add_argument("-f", dest="full", action="store_true", help="full paths")
    ls.add_argument("-p", dest="perms", action="store_true", help="with permissions")
    ls.add_argument("path", nargs="?", default="/")
    read = _verb(verbs, "read", "read /local/domain/0/name")
    read.add_argument("-p", dest="prefix", action="store_true", help="print `key: value`")
    read.add_argument("keys", nargs="+", metavar="key")
    write = _verb(verbs, "write", "write /a 1 /b 2")
    write.add_argument("pairs", nargs="+", metavar="key value")
    listing = _verb(verbs, "list", "list /local/domain")
    listing.add_argument("-p", dest="prefix", action="store_true", help="print whole paths")
    listing.add_argument("keys", nargs="+", metavar="key")
    rm = _verb(verbs, "rm", "rm /a")
    rm.add_argument("-t", dest="tidy", action="store_true", help="and parents left empty")
    rm.add_argument("keys", nargs="+", metavar="key")
    watch = _verb(verbs, "watch", "watch -n 3 /a")
    watch.add_argument("-n", dest="count", type=int, default=-1, help="end after COUNT events")
    watch.add_argument("keys", nargs="+", metavar="key")
    control = _verb(verbs, "control", "control quota 3")
    control.add_argument("words", nargs="+", metavar="word")
    update = _verb(verbs, "live-update", "live-update -F")
    update_command.arguments(update)
    for verb in (ls, read, write, listing, rm, watch, control, update):
        verb.add_argument("--json", action="store_true", help="one JSON value")
        lab_option(verb)  # for the help: whoever calls has taken it out of the words
    return parser
