"""Every verb of `hvsim` with its words, taken from the parsers themselves.

The shells' completion and the reference of the documentation are made of it, so neither can know
another verb or option than the command itself.  Everything is imported for it: no command that
answers at once may use this.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from hvsim.commands import xenstore_timeline, xenstore_words
from hvsim.commands.parser import Parser
from hvsim.commands.verbs import COMMANDS, parser_of


@dataclass(frozen=True, slots=True)
class Word:
    """An option, or an argument with a place of its own.

    Attributes:
        flags: as an option is written ("-q", "--quiet"); () for an argument.
        value: what it is called in a help text; "" for an option without a value.
        choices: what it may be; () for anything.
        kind: of what `value` is: "files", "labs", "domains", or "" for none of these.
    """

    flags: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: ("ps",), ("xenstore", "ls"), ("xl", "list").

    Attributes:
        usage: its usage, on one line.
        text: what it does, as its help says it; "" where the summary is all.
        example: lines to type.
    """

    name: tuple[str, ...]
    summary: str
    usage: str
    text: str
    example: str
    words: tuple[Word, ...]


_SHARED = (
    Word(("--lab",), "NAME", (), "labs", "the lab (default: HVSIM_LAB, or the only one that runs)"),
    Word(("--json",), "", (), "", "print JSON, for programs"),
    Word(("-h", "--help"), "", (), "", "show a help text and exit"),
)
"""Of verbs whose words no parser of ours has."""


def catalogue() -> list[Verb]:
    """All of them, in the order of the overview; those of xl that are built."""
    found: list[Verb] = []
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"hvsim.commands.{name}")
        if name == "xl":
            found.append(
                Verb(("xl",), summary, _usage(module.USAGE), module.HELP, module.EXAMPLE, ())
            )
            found += _of_xl()
        elif name == "xenstore":
            usage, *_ = module.usage()
            found.append(
                Verb(("xenstore",), summary, _usage(usage), module.HELP, module.EXAMPLE, ())
            )
            found += _of_xenstore()
        else:
            parser = parser_of(name, module)
            found.append(_verb((name,), summary, parser, module.HELP, module.EXAMPLE))
    return found


def _verb(name: tuple[str, ...], summary: str, parser: Parser, text: str, example: str) -> Verb:
    words = tuple(word for action in parser.words() for word in _words(action))
    return Verb(name, summary, _usage(parser.format_usage()), text, example, words)


def _usage(text: str) -> str:
    first, *_ = text.removeprefix("usage:").split("\n\n")
    return " ".join(first.split())


def _words(action: argparse.Action) -> Iterator[Word]:
    if action.nargs == 0:
        value = ""
    elif isinstance(action.metavar, str):
        value = action.metavar
    elif action.choices is not None:
        value = "|".join(map(str, action.choices))
    else:
        value = action.dest.upper() if action.option_strings else action.dest
    choices = tuple(map(str, action.choices or ()))
    told = (action.help or "").replace("%%", "%")
    yield Word(tuple(action.option_strings), value, choices, _kind(action, value), told)


def _kind(action: argparse.Action, value: str) -> str:
    if value in ("FILE", "LAB"):
        return "files"
    if value in ("DOMAIN", "TARGET"):
        return "domains"
    named = "--lab" in action.option_strings or (value == "N" and not action.option_strings)
    return "labs" if named and action.type is None else ""


def _of_xenstore() -> Iterator[Verb]:
    parsers = xenstore_words.parser().verbs() | {"timeline": xenstore_timeline.parser()}
    for name, parser in parsers.items():
        text = parser.description or ""
        example = (parser.epilog or "").partition("\n")[2]
        yield _verb(("xenstore", name), xenstore_words.VERBS[name], parser, text, example)


def _of_xl() -> Iterator[Verb]:
    from hvsim.toolstack.xl import absent, unbuilt
    from hvsim.toolstack.xl.main import COMMANDS
    from hvsim.toolstack.xl.table import VERBS

    missing = {command.name for command in (*absent.COMMANDS, *unbuilt.COMMANDS)}
    for name, verb in VERBS.items():
        if name not in missing:
            command = COMMANDS[name]
            usage = " ".join(f"hvsim xl [-vtT{verb.flags}] {name} {verb.usage}".split())
            example = f"  hvsim {command.example}" if command.example else ""
            words = (*_short(command.short), *map(_long, command.long), *_SHARED)
            yield Verb(("xl", name), verb.summary, usage, "", example, words)


def _short(letters: str) -> Iterator[Word]:
    """Of getopt's "ab:", where b has a value."""
    for letter, after in zip(letters, f"{letters[1:]} ", strict=False):
        if letter != ":":
            yield Word((f"-{letter}",), "VALUE" if after == ":" else "", (), "", "")


def _long(name: str) -> Word:
    flag = f"--{name.rstrip('=')}"
    return Word((flag,), "VALUE" if name.endswith("=") else "", (), "", "")
