"""On which line of a TOML text does a table or key stand?

`tomllib` gives values and no places. A lab file has one simple shape (`[lab]`, `[[image]]`,
`[[domain]]`, and tables below these), so a scan of the headers and keys finds the line. The
scan never decides anything: where it finds nothing, the line is 0 and the error message
simply has no line number.
"""

import re
from collections.abc import Sequence

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*(\]\]?)\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.[^=]*)?=""")
_LOOKED_AT = 2000
"""Characters of a line; the expressions above take their time with more."""
_TRIPLE = re.compile(r"\"\"\"|'''")

Path = tuple[str | int, ...]


class Locator:
    """The lines of one TOML text: `line(("domain", 1, "restart"))` -> 12 (counted from 1)."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        counts: dict[str, int] = {}
        table: Path = ()
        inside_text = ""
        depth = 0
        for number, whole in enumerate(text.split("\n"), 1):
            line = whole[:_LOOKED_AT]
            if inside_text:
                if inside_text in line:
                    inside_text = ""
                continue
            header = _HEADER.match(line) if depth == 0 else None
            if header:
                table = self._open(header[1], header[2], counts)
                self._lines.setdefault(table, number)
                continue
            key = _KEY.match(line) if depth == 0 else None
            if key:
                name = key[1] or key[2] or key[3]
                self._lines.setdefault((*table, name), number)
            triples = _TRIPLE.findall(line)
            if len(triples) % 2:
                inside_text = triples[-1]
            else:
                depth = max(0, depth + _brackets(line, bool(key)))

    @staticmethod
    def _open(opening: str, name: str, counts: dict[str, int]) -> Path:
        parts = [part.strip().strip("\"'") for part in name.split(".")]
        first = parts[0]
        if opening == "[[" and len(parts) == 1:
            counts[first] = counts.get(first, -1) + 1
        head: Path = (first, counts[first]) if first in counts else (first,)
        return head + tuple(parts[1:])

    def line(self, path: Sequence[str | int]) -> int:
        """The line of `path`, or of the nearest thing around it; 0 when nothing is known."""
        place = tuple(path)
        while place:
            found = self._lines.get(place)
            if found:
                return found
            place = place[:-1]
        return 0


def _brackets(line: str, has_key: bool) -> int:
    """How many brackets `line` opens more than it closes, strings and comments left out."""
    value = line.split("=", 1)[1] if has_key else line
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', "", value).split("#", 1)[0]
    return sum(bare.count(mark) for mark in "[{") - sum(bare.count(mark) for mark in "]}")
