"""What somebody who wrote a word probably meant, and what to do about each of xl's complaints."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hvsim.toolstack.config import disk, vif
from hvsim.toolstack.config.guest import ACTIONS
from hvsim.toolstack.config.keys import BY_NAME, OURS

XL_KEYS: Final = (*BY_NAME, *OURS)
"""Every key that a guest's config may have."""

_DISK_VALUES: Final[dict[str, Sequence[str]]] = {
    "format": [one for one in disk.FORMATS if one != "empty"],
    "access": ("rw", "ro", "w", "r", disk.SHARED),
    "type": ("cdrom", "disk"),
    "backendtype": disk.BACKENDS,
    "specification": disk.SPECIFICATIONS,
}
_VIF: Final = "see xl-network-configuration(5): vif = ['mac=...,bridge=...,ip=...,backend=...']"
_DISK: Final = "write format=raw,vdev=xvda,access=rw,target=FILE"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of *known* that *word* is nearly, None when it is near none: blanks around it, the
    case of its letters and dashes for underscores count least."""
    names = list(known)
    plain = {_plain(name): name for name in reversed(names)}
    if _plain(word) in plain:
        return plain[_plain(word)]
    import difflib  # as the patterns below: of no use for a file that is sound

    close = difflib.get_close_matches(_plain(word), list(plain), n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt word: the nearest known one, or all of them."""
    names = list(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known here: {', '.join(names)}" if names else ""


def _suggest(word: str, known: Iterable[str], otherwise: str) -> str:
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near is not None and near != word else otherwise


def _disk_value(match: re.Match[str]) -> str:
    key, value = match.groups()
    value = value.removeprefix("devtype=").rstrip(",") if key == "type" else value
    known = _DISK_VALUES[key]
    vdev = "" if key != "format" else "; between the image and its vdev stands the format"
    return _suggest(value, known, f"use one of {', '.join(known)}{vdev}")


def _disk_syntax(match: re.Match[str]) -> str:
    rest, spec = match.groups()
    word = spec.removesuffix(rest).rpartition(",")[2]
    return _suggest(word, disk.KEYS, _DISK)


def _lexical(match: re.Match[str]) -> str:
    text = match[1]
    word = re.match(r"[A-Za-z][A-Za-z0-9_]*", text)
    if text in ("True", "False"):
        return f"write {int(text == 'True')}"
    if "\r" in text or not text:
        return "the file has line ends of DOS: convert it, as with `sed -i 's/\\r$//'`"
    if text.startswith("\ufeff"):
        return "save the file without a byte order mark"
    if text.startswith("#"):
        return "end the file with a line end"
    if text[0] in "\"'":
        return "close the quotes on the same line"
    if re.fullmatch(r"-[0-9]+", text):
        return f'write "{text}" in quotes'
    if word is not None:
        near = nearest(word[0], XL_KEYS)
        if near is not None:
            return f"did you mean {near!r}? Keys have small letters"
    return 'see xl.cfg(5): KEY = "TEXT", KEY = NUMBER or KEY = [ VALUE, ... ]'


Remedy = str | Callable[[re.Match[str]], str]
_REMEDIES: Final[tuple[tuple[str, Remedy], ...]] = (
    (r"unknown value for (format|access|type|backendtype|specification): near `([^']*)'",
     _disk_value),
    (r"unknown parameter: near `([a-z][-a-z0-9]*)=",
     lambda match: _suggest(match[1], disk.KEYS, _DISK)),
    (r"bad disk syntax: near `(.*)' in `(.*)'$", _disk_syntax),
    (r"(\S+) respecified: near", lambda match: f"say {match[1]} once"),
    (r"disk specification", _DISK),
    (r"unrecognized argument `([^='\s]*)",
     lambda match: _suggest(match[1], (*vif.KEYS, *vif.FLAGS), _VIF)),
    (r"Invalid parameter `mac'", "write six bytes, as in 00:16:3e:00:00:01"),
    (r"Invalid parameter `type'", "write type=vif, or leave it out"),
    (r"in vif: (?:no rate|invalid rate|rate overflow)",
     "write a number of bytes or bits, as in 10Mb/s, 250KB/s or 1MB/s@20ms"),
    (r"replenishment interval", "write it with its unit, as in 1MB/s@20ms"),
    (r'failed to convert ".*" to number', "write a number"),
    (r'Unknown on_\w+ action "(.*)" specified',
     lambda match: did_you_mean(match[1], ACTIONS)),
    (r"Invalid domain type (.*)\.",
     lambda match: "leave builder out, or write type = \"pv\"" if match[1] == "linux" else
     did_you_mean(match[1], ("pv", "pvh", "hvm", "generic"))),
    (r"Failed to parse UUID", "write it as in d8ac4a1e-f6c2-4d1b-9a3b-000000000001"),
    (r"is no number from 0 to", "leave it out: it has no effect here"),
    (r"maxvcpus < vcpus", "raise maxvcpus, or leave it out"),
    (r"Neither kernel nor bootloader", 'add program = "module:function"'),
    (r"name must be specified", 'add name = "..."'),
    (r"near `(.*)': lexical error", _lexical),
    (r"escape in quoted string|backlash in quoted string",
     "write \\\\ for a backslash; \\n, \\t, \\\" and \\' are known"),
    (r"near `([a-z][a-z0-9_.]*)'?: syntax error, unexpected IDENT, expecting STRING",
     lambda match: f'write "{match[1]}" in quotes'),
    (r"expecting \+= or '='", "write KEY = VALUE"),
    (r"expecting STRING or NUMBER", "write a value behind the =, on the same line"),
    (r"expecting '\]'", "close the list with ], and put commas between its values"),
    (r"expecting \$end$", "begin a new line, or put ; between two settings"),
    (r"can't add \[list\]", "add a list to a list, a text to a text"),
    (r"config parsing error|warning: parameter", "see xl.cfg(5)"),
)  # fmt: skip


def remedy(text: str) -> str:
    """What to do about a complaint of xl's; "" when there is nothing to add."""
    for pattern, what in _REMEDIES:
        match = re.search(pattern, text, re.DOTALL)
        if match is not None:
            return what if isinstance(what, str) else what(match)
    return ""
