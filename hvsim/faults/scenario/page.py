"""A run as one page that a person can read: no network, no script, fit for a phone.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from hvsim.faults.scenario.story import fired as said_fired
from hvsim.printable import printable

if TYPE_CHECKING:
    from hvsim.faults.scenario.rows import RunActRow, RunCheckRow, RunClientRow, RunPhaseRow, RunRow

_LEAST: Final = 0.4
"""Per cent of the width that anything has."""


def page(row: RunRow) -> str:
    """The document."""
    css = files("hvsim.faults.scenario").joinpath("page.css").read_text(encoding="utf-8")
    title = _text(row["title"])
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>\n{css}</style>\n</head>\n<body>",
            f"<h1>{title}</h1>",
            *_verdict(row),
            *(f"<p>{_prose(one)}</p>" for one in row["text"].split("\n\n") if one),
            "<h2>Again</h2>",
            f"<pre>{_text(row['replay'])}</pre>",
            "<h2>What held, and what did not</h2>\n<ul>",
            *(line for one in _bad_first(row["checks"]) for line in _check(one)),
            "</ul>\n<h2>When</h2>",
            *_timeline(row),
            "<ol>",
            *(_phase(number, one) for number, one in enumerate(row["phases"], 1)),
            "</ol>",
            "<h2>What was done</h2>\n<ol>",
            *(line for number, one in enumerate(row["acts"], 1) for line in _act(number, one)),
            "</ol>\n</body>\n</html>",
        ]
    )


def _verdict(row: RunRow) -> Iterator[str]:
    failed = sum(not one["held"] and one["counts"] for one in row["checks"])
    kind = "held" if row["ok"] else "failed"
    said = "Everything held" if row["ok"] else f"{failed} of {len(row['checks'])} checks failed"
    yield f'<p class="verdict {kind}">{said}</p>'
    yield (
        f'<p class="dim">scenario {_text(row["scenario"])}, seed {row["seed"]}, '
        f"{row['seconds']:.1f} s; the lab was up after {row['up_seconds']:.1f} s</p>"
    )


def _bad_first(checks: list[RunCheckRow]) -> list[RunCheckRow]:
    return sorted(checks, key=lambda one: one["held"] or not one["counts"])


def _check(one: RunCheckRow) -> Iterator[str]:
    word = "held" if one["held"] else "FAILED" if one["counts"] else "does not count"
    kind = "failed" if one["counts"] and not one["held"] else "held"
    judged = f'<div class="dim">{_text(one["judged"])}</div>' if one["judged"] else ""
    yield f'<li><span class="mark {kind}">{word}</span>{_text(one["name"])}{judged}'
    yield from (f'<div class="problem">{_text(text)}</div>' for text in one["problems"])
    yield "</li>"


def _timeline(row: RunRow) -> Iterator[str]:
    whole = max(row["seconds"], 0.001)

    def place(begun: float, ended: float) -> str:
        left = min(100.0 - _LEAST, max(0.0, begun / whole * 100))
        width = min(100.0 - left, max(_LEAST, (ended - begun) / whole * 100))
        return f"left:{left:.2f}%;width:{width:.2f}%"

    yield '<div class="lane">'
    for number, phase in enumerate(row["phases"], 1):
        where = place(phase["begun"], phase["ended"])
        name = f"{number} {_text(phase['name'])}"  # what is cut off is known by its number
        yield f'<i class="phase" style="{where}" title="{name}">{name}</i>'
    yield "</div>"
    for number, one in enumerate(row["acts"], 1):
        if one["what"] == "look":
            continue
        step = one["rule"] is None
        where = place(one["begun"], one["begun"] if one["ended"] is None else one["ended"])
        yield f'<div class="name">{_number(number, one)}{_text(one["text"])}</div>'
        shape = f"left:{where.split('left:')[1].split(';')[0]}" if step else where
        kind = "step" if step else "rule"
        yield f'<div class="lane"><i class="{kind}" style="{shape}"></i></div>'
    for client in row["clients"]:
        yield from _pulse(client)
    yield f'<p class="dim">from left to right: {whole:.1f} s</p>'


def _phase(number: int, phase: RunPhaseRow) -> str:
    told = f'<div class="dim">{_text(phase["text"])}</div>' if phase["text"] else ""
    when = f"{phase['begun']:.2f} s to {phase['ended']:.2f} s"
    return f'<li>{number} {_text(phase["name"])} <span class="dim">{when}</span>{told}</li>'


def _pulse(client: RunClientRow) -> Iterator[str]:
    """How often a client was told something: a bar for each hundredth of the run."""
    most = max([*client["pulse"], 1])
    told = f"{_text(client['domain'])}: told {client['told']} times ({_text(client['history'])})"
    yield f'<div class="name">{told}</div>\n<div class="lane">'
    for index, count in enumerate(client["pulse"]):
        if count:
            height = max(8.0, count / most * 100)
            yield f'<i class="pulse" style="left:{index}%;width:1%;height:{height:.0f}%"></i>'
    yield "</div>"


def _number(number: int, one: RunActRow) -> str:
    kind = "number" if one["rule"] is not None else f"number {_kind(one)}"
    return f'<span class="{kind}">{number}</span>'


def _kind(one: RunActRow) -> str:
    return "look" if one["what"] == "look" else "step"


def _act(number: int, one: RunActRow) -> Iterator[str]:
    until = "" if one["ended"] is None else f" to {one['ended']:.2f} s"
    yield f"<li>{_number(number, one)}<code>{_text(one['text'])}</code>"
    fired = "" if one["fired"] is None else f", {said_fired(one['fired'])}"
    yield f'<div class="dim">{_text(one["phase"])}: {one["begun"]:.2f} s{until}{fired}</div>'
    if one["said"]:
        yield f"<pre>{_text(chr(10).join(one['said']))}</pre>"
    if one["trouble"]:
        yield f'<div class="problem">not done: {_text(one["trouble"])}</div>'
    yield "</li>"


def _prose(text: str) -> str:
    """A paragraph of the scenario's text; what stands in backquotes is to be typed."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    """Whatever a guest wrote, as text."""
    return escape("\n".join(printable(line) for line in text.split("\n")))
