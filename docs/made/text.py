"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by docs/made; not kept in the repository. -->"


def page(title: str, *parts: str) -> str:
    """A whole page."""
    return "\n\n".join([NOTE, f"# {title}", *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells may hold anything."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """One cell: a bar is no border, a line break none of the table's, "<" no HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;") or " "


def code(text: str) -> str:
    """As it is typed, in a line."""
    return f"`{text}`"


def block(text: str, language: str = "text") -> str:
    """Lines as they are."""
    return f"```{language}\n{text}\n```"


def unindented(text: str) -> str:
    """An example as a help text has it, at the margin."""
    return "\n".join(line.removeprefix("  ") for line in text.split("\n"))
