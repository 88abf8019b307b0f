"""Recordings of a real host, read: traces of its xenstored, listings, commands with their output.

What ran there: Xen 4.17.7, Linux 6.1 as dom0 and PV guest, C xenstored, xl.  Order, content,
permissions, texts and exit codes are facts; times are not.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"

_LINE = re.compile(r"(?P<time>\d\d:\d\d:\d\d) (?P<who>\S+) +(?P<verb>[A-Z~_]+)(?: +(?P<rest>.*))?$")
MUTATIONS = ("WRITE", "MKDIR", "RM", "SET_PERMS", "INTRODUCE")


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of a trace.

    Attributes:
        who: XL, KERN0, CONS, SCRIPT, domU.
        path: absolute.
        value: what was written, or the permissions.
        error: the errno's name when it was refused.
    """

    who: str
    verb: str
    path: str
    value: str = ""
    error: str = ""

    def __str__(self) -> str:
        refused = f" => {self.error}" if self.error else ""
        return f"{self.who:6} {self.verb:9} {self.path} {self.value}{refused}".rstrip()


def text(name: str) -> str:
    """A file of ``data``, packed or not."""
    path = DATA / name
    if path.exists():
        return path.read_text(encoding="utf-8", errors="replace")
    return gzip.decompress((DATA / f"{name}.gz").read_bytes()).decode("utf-8", "replace")


def trace(name: str, homes: Mapping[str, int]) -> Iterator[Entry]:
    """The requests of a recorded trace, events left out.

    Args:
        homes: whose relative paths belong to which domain: {"KERN0": 0, "domU": 1}; the scripts
            run in dom0.
    """
    for line in text(f"{name}.trace-readable.txt").splitlines():
        match = _LINE.match(line)
        if match is None or match["verb"].startswith("~"):
            continue
        rest, arrow, reply = (match["rest"] or "").partition("  => ")
        error = reply.removeprefix("ERROR ") if arrow and reply.startswith("ERROR") else ""
        path, _, value = rest.partition(" ")
        who = re.sub(r"^(XL|domU)\d+$", r"\1", match["who"])
        if path and not path.startswith(("/", "@")) and match["verb"] in (*MUTATIONS, "READ"):
            numbered = re.fullmatch(r"domU(\d+)", match["who"])
            home = int(numbered[1]) if numbered else homes.get(who, 0)
            path = f"/local/domain/{home}/{path}" if match["verb"] != "INTRODUCE" else path
        yield Entry(who, match["verb"], path, value, error)


def mutations(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Only what changes the store."""
    return (entry for entry in entries if entry.verb in MUTATIONS)


_NODE = re.compile(r'(?P<path>/\S*) = "(?P<value>.*)"   \((?P<perms>[^)]*)\)$')


def listing(name: str) -> dict[str, tuple[str, str]]:
    """``xenstore-ls -f -p``: path -> (value, permissions)."""
    found = {}
    for line in text(name).splitlines():
        match = _NODE.match(line)
        if match is not None:
            found[match["path"]] = (match["value"], match["perms"])
    return found


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was run, what came out (both streams), and its exit code."""

    line: str
    output: list[str]
    exit: int
    config: str | None = None


_PROMPT = re.compile(r"### \[[^]]*\] \$ (.*)$")


def commands(name: str) -> Iterator[Command]:
    """The commands of a recording, with the config that stands before one that needs it."""
    line: str | None = None
    output: list[str] = []
    config: list[str] | None = None
    in_config = False
    for row in text(name).splitlines():
        prompt = _PROMPT.match(row)
        if row.startswith("### config "):
            config, in_config = [], True
        elif in_config and row.startswith("#   "):
            assert config is not None
            config.append(row[4:])
        elif prompt is not None:
            line, output, in_config = prompt[1], [], False
        elif row.startswith("### exit=") and line is not None:
            while output and not output[-1]:
                output.pop()
            written = "\n".join(config) + "\n" if config is not None else None
            yield Command(line, output, int(row.removeprefix("### exit=")), written)
            line, config = None, None
        elif line is not None:
            output.append(row)
