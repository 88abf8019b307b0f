"""hvsim fault kill|stall|resume DOMAIN, hvsim fault add|list|remove"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, lab_option, print_json, say, table, tell_table, warn
from hvsim.errors import HvsimError
from hvsim.faults.now import ACTIONS
from hvsim.lab.choose import choose
from hvsim.printable import echoed

if TYPE_CHECKING:
    from hvsim.commands.rows import (
        BreakableRow,
        BreakablesRow,
        RuleAddedRow,
        RuleRow,
        RulesRemovedRow,
        RulesRow,
    )
    from hvsim.faults.rules import Standing
    from hvsim.lab.rundir import RunDir

RULES = {
    "add": "a rule from now on: TARGET KEY=VALUE ...; it gets a number",
    "list": "the rules that stand; --available: every fault there is",
    "remove": "rules by their numbers, or all",
}
HELP = """Break something. Now: kill a domain's process, stall it, or let it go on. As long as a
rule stands: a disk fails, a wire loses frames, a ring is corrupted, the store refuses.
A process of dom0 may be named like a domain: `hvsim fault kill xenstored`; so may the hypervisor.
Nobody of the lab but the hypervisor is asked for it, and for the hypervisor nobody.

""" + "\n".join(f"  {action:<7} {text}" for action, text in {**ACTIONS, **RULES}.items())
EXAMPLE = """  hvsim fault stall storage
  hvsim ps                      # who waits for whom
  hvsim fault resume storage
  hvsim fault list --available
  hvsim fault add db-primary/xvda media=eio op=write after=100 times=3
  hvsim fault list
  hvsim fault remove 1 2"""
_NUMBER = re.compile("[0-9]{1,9}")
_PAST = {"kill": "killed", "stall": "stalled", "resume": "resumed"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    actions = [*ACTIONS, *RULES]
    parser.add_argument("action", choices=actions, metavar="|".join(actions))
    parser.add_argument(
        "domain",
        nargs="?",
        metavar="TARGET",
        help="name or domid, a process of dom0, or hypervisor; of a rule: a device (web/xvda), "
        'two domains ("a <-> b"), a domain, xenstored; to remove: a number, or all',
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="of a rule: what, and when; to remove: further numbers",
    )
    parser.add_argument(
        "--process",
        default="",
        metavar="NAME",
        help="which process of the domain (dom0 has several: xenstored, ...)",
    )
    parser.add_argument("--available", action="store_true", help="list every fault there is")
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: done. 1: no such lab, domain or rule, or words that make no rule."""
    _refuse_what_is_too_much(options)
    if options.action == "list":
        return _available(options.json) if options.available else _list(options)
    if options.domain is None:
        what = "the number of a rule, or all" if options.action == "remove" else "a target"
        raise HvsimError(f"hvsim fault {options.action}: {what} is wanted")
    if options.action == "add":
        return _add(options)
    if options.action == "remove":
        return _remove(options)
    return _now(options)


def _refuse_what_is_too_much(options: argparse.Namespace) -> None:
    """Raises: HvsimError for words that would come to nothing."""
    action, said = options.action, [options.domain, *options.words]
    most = {"list": 0, "add": len(said), "remove": len(said)}.get(action, 1)
    if said[most:] and said[most] is not None:
        wanted = "one target is wanted" if most else "it lists all rules"
        raise HvsimError(f"hvsim fault {action}: {wanted}, and {echoed(said[most])} is too much")
    if options.process and action in RULES:
        raise HvsimError(
            f"hvsim fault {action}: --process is of {', '.join(ACTIONS)}; a rule's target may be a "
            "process of dom0, such as xenstored"
        )


def _now(options: argparse.Namespace) -> int:
    from hvsim.faults.now import inject

    lab = choose(options.lab)
    done = inject(lab, options.action, options.domain, options.process)
    if options.json:
        print_json({"lab": lab.name, "action": options.action, "domain": options.domain, **done})
    else:
        domid = "" if done["domid"] is None else f"domid {done['domid']}, "
        say(f"{_PAST[options.action]} {options.domain} ({domid}pid {done['pid']})")
    return 0


def _add(options: argparse.Namespace) -> int:
    from hvsim.faults.grammar import parse
    from hvsim.faults.rules import enter, trouble

    draft = parse(options.domain, options.words)
    lab = choose(options.lab)
    number = enter(lab, [draft])[0]
    try:
        why_not = trouble(lab, number)
    except HvsimError as silent:
        raise HvsimError(
            f"rule {number} was added; whether it was put in place could not be told: {silent}"
        ) from None
    if options.json:
        row: RuleAddedRow = {"number": number, "rule": draft.text, "trouble": why_not}
        print_json(row)
    elif not why_not:
        say(f"rule {number}: {draft.text}")
    else:
        warn(
            f"rule {number} breaks nothing: {why_not}; `hvsim fault remove {number}` takes it away"
        )
    return int(bool(why_not))


def _remove(options: argparse.Namespace) -> int:
    from hvsim.faults.rules import NoRule, remove, standing, visit

    said = [options.domain, *options.words]
    every = "all" in said
    for word in said:
        if word != "all" and not _NUMBER.fullmatch(word):
            raise HvsimError(f"{echoed(word)} is no number of a rule, nor all")
    if every and len(said) > 1:
        raise HvsimError("hvsim fault remove: all, or numbers of rules; not both")
    numbers = []
    with visit(choose(options.lab)) as door:
        known = [one.rule.number for one in standing(door)]
        wanted = known if every else list(dict.fromkeys(map(int, said)))
        unknown = [str(number) for number in wanted if number not in known]
        if unknown:  # before any is removed, which nobody would be told
            raise HvsimError(
                f"there is no rule {', '.join(unknown)}; `hvsim fault list` shows them"
            )
        for number in wanted:
            try:
                remove(door, number)
            except NoRule:
                if not every:  # else its time has come meanwhile
                    raise
            else:
                numbers.append(number)
    if options.json:
        row: RulesRemovedRow = {"removed": numbers}
        print_json(row)
    else:
        say(f"removed {', '.join(str(number) for number in numbers) or 'nothing'}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from hvsim.faults.rules import standing, visit

    lab: RunDir = choose(options.lab)
    with visit(lab) as door:
        found = standing(door)
    if options.json:
        row: RulesRow = {"lab": lab.name, "rules": [_row(one) for one in found]}
        print_json(row)
    elif not found:
        say("no rule stands; `hvsim fault list --available` shows what there is")
    else:
        rows = [
            (str(one.rule.number), str(one.rule.fired), one.rule.text, one.trouble or one.last)
            for one in found
        ]
        say(*table(("RULE", "FIRED", "WHAT", "LAST"), rows))
    return 0


def _row(one: Standing) -> RuleRow:
    return {
        "number": one.rule.number,
        "rule": one.rule.text,
        "fired": one.rule.fired,
        "last": one.last,
        "trouble": one.trouble,
    }


def _available(as_json: bool) -> int:
    from hvsim.faults.rules import available

    found = available()
    if as_json:
        rows: list[BreakableRow] = [
            {"word": word, "about": about, "text": text} for word, about, text in found
        ]
        row: BreakablesRow = {"faults": rows}
        print_json(row)
    else:
        tell_table(("FAULT", "OF", "WHAT HAPPENS"), found)
    return 0
