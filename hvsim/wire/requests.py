"""Requests of the control wire as they are read: checked against their types, once.

What does not fit is refused by its field, in the words that its verb has for it.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, get_args, get_origin, get_type_hints

import msgspec

from hvsim.wire.control import Cancel, Status, verb_of
from hvsim.wire.lab_requests import MAX_SNAPLEN, VERBS, Request
from hvsim.wire.packing import MALFORMED, BadMessage, unpack
from hvsim.wire.typed import read as typed

SOCKET_PATH_MAX: Final = 107
"""Bytes (unix(7))."""
_HIDDEN: Final = (Status, Cancel)
_PARTS: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_WORDS: Final[Mapping[object, str]] = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    Sequence: "a list",
    Mapping: "a table",
}

TEXTS: Final[Mapping[tuple[str, str], str]] = {
    ("xl", "argv"): "argv must be a list of texts",
    ("stop", "timeout"): "timeout must be a number of seconds",
    (
        "exec",
        "argv",
    ): "argv must be a list of texts without NUL, the first of which names a program",
    ("exec", "env"): (
        "env must be a table of texts without NUL; a variable's name is not empty and has no '='"
    ),
    ("exec", "stdio"): "stdio must be the path of a socket",
    ("exec", "directory"): "directory must be a path",
    ("capture", "action"): "action must be start, read or stop",
    ("capture", "side"): "side must be front or back",
    ("capture", "snaplen"): f"snaplen must be from 1 to {MAX_SNAPLEN}",
    ("capture", "session"): "that capture has ended (nobody read it for a while)",
    ("device", "action"): "action must be attach or detach",
    ("create", "profile"): "profile {value} is neither guest nor driver",
    ("create", "restart"): "restart {value} is neither never nor always",
    ("create", "files[]"): 'an entry of files must be [path, "r" or "rw"]: {value}',
    ("create", "devices[]"): "an entry of devices: {what} in {value}",
}
"""What is said of a field, or of an entry of it; of others what its type is called."""


def _is_word(value: str) -> bool:
    return "\0" not in value


_CHECKS: Final[Mapping[tuple[str, str], Callable[..., bool]]] = {
    ("exec", "argv"): lambda argv: bool(argv and argv[0]) and all(map(_is_word, argv)),
    ("exec", "env"): lambda env: all(
        key and "=" not in key and _is_word(key) and _is_word(value) for key, value in env.items()
    ),
    ("exec", "stdio"): lambda path: (
        path.startswith("/") and _is_word(path) and len(os.fsencode(path)) <= SOCKET_PATH_MAX
    ),
    ("exec", "directory"): _is_word,
}
"""What its type does not say of a field."""


def _checker(kind: type[Request]) -> type[msgspec.Struct]:
    """What checks the fields of a request."""
    hints, defaults = get_type_hints(kind), kind._field_defaults
    return msgspec.defstruct(
        kind.__name__,
        [
            (name, hints[name], msgspec.field(default=defaults[name]))
            if name in defaults
            else (name, hints[name])
            for name in kind._fields
        ],
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


_CHECKERS: Final = {verb: _checker(kind) for verb, kind in VERBS.items()}


class BadRequest(BadMessage):
    """A request that cannot be followed; the text begins with its verb.

    Attributes:
        code: the exit code of the answer.
    """

    def __init__(self, verb: str, text: str) -> None:
        super().__init__(f"{verb}: {text}")
        self.code: Final = 1 if verb == "create" else 2


def read(frame: bytes) -> Request:
    """The request that came.  Raises: BadRequest."""
    try:
        raw = unpack(frame)
    except MALFORMED:
        raw = None
    if not isinstance(raw, dict) or not isinstance(verb := raw.pop("verb", None), str):
        raise BadRequest("control", "a request is one msgpack map with a verb")
    kind = VERBS.get(verb)
    if kind is None:
        known = ", ".join(sorted(name for name, one in VERBS.items() if one not in _HIDDEN))
        raise BadRequest("control", f"no verb {verb!r}; there are: {known}")
    try:
        values = msgspec.structs.astuple(typed(_CHECKERS[verb], raw))
    except BadMessage as wrong:
        raise BadRequest(verb, _said_of(verb, kind, raw, wrong)) from None
    request = kind(*values)
    check(request)
    return request


def check(request: Request) -> None:
    """What the types of its fields do not say.  Raises: BadRequest."""
    verb = verb_of(request)
    for (of, field), holds in _CHECKS.items():
        if of == verb and not holds(getattr(request, field)):
            raise BadRequest(verb, TEXTS[verb, field])


def _said_of(verb: str, kind: type[Request], raw: Mapping[str, object], wrong: BadMessage) -> str:
    """What is wrong with a request."""
    missing, parts = _MISSING.search(wrong.what), _PARTS.match(wrong.place)
    field = missing[1] if missing and not parts else parts[1] if parts else ""
    value = raw.get(field)
    entries = TEXTS.get((verb, f"{field}[]"))
    if entries and parts and parts[2] and isinstance(value, list):
        return entries.format(value=_shown(value[int(parts[2])]), what=wrong.what)
    if text := TEXTS.get((verb, field)):
        return text.format(value=_shown(value))
    if field and wrong.place in ("", field):
        word = _WORDS.get(_base(get_type_hints(kind)[field]))
        if word is not None:
            return f"{field!r} must be {word}, not {_shown(value)}"
    return str(wrong)


def _base(hint: object) -> object:
    """Of a type what a person calls it by."""
    options = [one for one in get_args(hint) if one is not type(None)]
    if type(None) in get_args(hint) and len(options) == 1:
        return _base(options[0])
    return get_origin(hint) or hint


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
