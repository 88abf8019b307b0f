"""Commands and options, from the parsers; exit codes."""

import importlib
import inspect

from docs.made.text import block, cell, code, page, table, unindented
from hvsim.commands.catalogue import Verb, Word, catalogue
from hvsim.commands.exits import EXITS


def commands() -> str:
    """The page of commands."""
    return page(
        "Commands",
        "`--lab NAME` and `--json` may stand before the command or after it. `hvsim COMMAND "
        "--help` says the same as this page.",
        *map(_section, catalogue()),
    )


def _section(verb: Verb) -> str:
    name = " ".join(verb.name)
    summary = " ".join(f"{verb.summary[:1].upper()}{verb.summary[1:]}".split()).rstrip(".")
    head = f"{'#' * (1 + len(verb.name))} hvsim {name}"
    parts = [head, f"{_escaped(summary)}.", block(verb.usage)]
    if verb.text and verb.name[0] not in ("xl",):
        parts.append(_prose(verb.text))
    if verb.words:
        parts.append(
            table(
                ("word", "what it does"), [(_word(word), word.help or "-") for word in verb.words]
            )
        )
    if verb.example:
        parts.append(block(unindented(verb.example), "sh"))
    return "\n\n".join(parts)


def _word(word: Word) -> str:
    flags = ", ".join(map(code, word.flags))
    choices = "" if not word.choices else f" ({', '.join(map(code, word.choices))})"
    value = code(word.value) if word.value and word.value != "|".join(word.choices) else ""
    return " ".join(part for part in (flags, value) if part) + choices


def _prose(text: str) -> str:
    """Paragraphs as text, indented lines as they are."""
    parts = []
    for paragraph in text.split("\n\n"):
        plain = [line for line in paragraph.split("\n") if not line.startswith(" ")]
        kept = [line for line in paragraph.split("\n") if line.startswith(" ")]
        if plain:
            parts.append("\n".join(map(_escaped, plain)))
        if kept:
            parts.append(block("\n".join(kept)))
    return "\n\n".join(parts)


def _escaped(line: str) -> str:
    return line.replace("*", "\\*").replace("<", "&lt;").replace("$", "\\$")


def exits() -> str:
    """The page of exit codes."""
    own = []
    for verb in catalogue():
        if len(verb.name) == 1 and verb.name[0] not in ("xl", "xenstore"):
            run = importlib.import_module(f"hvsim.commands.{verb.name[0]}").run
            own.append((code(f"hvsim {verb.name[0]}"), cell(inspect.getdoc(run) or "")))
    return page(
        "Exit codes",
        table(("code", "meaning"), [(str(number), text) for number, text in EXITS.items()]),
        "`hvsim exec` ends with the status of the program (128 + n after signal n), `hvsim xl` "
        "with xl's, `hvsim xenstore` with that of the xenstore-\\* tools.",
        "## What 0 and 1 mean to a command",
        table(("command", "exit code"), own),
    )
