"""``hvsim xenstore ls|read|write|list|rm|watch|control``: the output of Debian's xenstore-* tools.

Texts, order and exit codes are those of xenstore-utils 4.17; ``--json`` is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from hvsim.commands import xenstore_update as update_command
from hvsim.commands.xenstore_words import parser
from hvsim.printable import as_json
from hvsim.speak import say, say_json, warn
from hvsim.xs import requests
from hvsim.xs.blocking import SocketStore, connect
from hvsim.xs.client import StoreClient, Transaction
from hvsim.xs.requests import StoreDisconnected, StoreError, StoreNotFound
from hvsim.xs.waits import MACHINE, Waits

DESIRED_WIDTH: Final = 60
"""Column up to which ``ls -p`` without ``-f`` puts dots before the permissions."""
_TAG_LENGTH: Final = len(' = "..."')
_PLAIN_WIDTH: Final = 80

Tree = dict[str, Any]


def main(
    argv: Sequence[str],
    socket_path: str,
    *,
    patience: float = 0.0,
    on_silence: Callable[[float], str] = lambda seconds: "",
    waits: Waits = MACHINE,
) -> int:
    """Run one command against the store at *socket_path*; returns its exit code.

    Args:
        patience: seconds to wait for a store that is being started again.
        on_silence, waits: see ``SocketTransport``.
    """
    try:
        options = parser().parse_args(list(argv))
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 1
    name = f"xenstore-{options.verb}"
    if options.verb == "write" and len(options.pairs) % 2:
        return _fail(f"{name}: each key needs a value")
    try:
        with connect(socket_path, "CLI", patience=patience, waits=waits) as store:
            store.transport.on_silence = on_silence
            return _VERBS[options.verb](store, options)
    except StoreDisconnected:
        return _fail(f"{name}: the store has closed the connection")
    except TimeoutError as error:
        return _fail(f"{name}: {error}")
    except OSError as error:
        if isinstance(error, StoreError):
            return _fail(f"{name}: {error.strerror}")
        return _fail(f"{name}: no store at {error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return 130


def _fail(text: str) -> int:
    warn(text)
    return 1


def escape(value: bytes) -> str:
    """A value as the xenstore tools show it (``sanitise_value``): what is not printable ASCII,
    and the backslash, as an escape."""
    return "".join([_SHOWN[byte] for byte in value])


def _shown(byte: int) -> str:
    named = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x5C: "\\\\"}.get(byte)
    if named is not None:
        return named
    if 0x20 <= byte <= 0x7E:
        return chr(byte)
    return f"\\{byte:03o}" if byte < 8 else f"\\x{byte:02x}"


_SHOWN: Final = [_shown(byte) for byte in range(256)]


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if path.endswith("/") else f"{path}/{name}"


# -- ls ----------------------------------------------------------------------------------------


def _ls(store: SocketStore, options: argparse.Namespace) -> int:
    path = options.path
    try:
        names = store.directory(path)
    except StoreNotFound:
        return _fail(f"xenstore-ls: xs_directory ({path}): No such file or directory")
    except StoreError as error:
        return _fail(f"xenstore-ls: xs_directory ({path}): {os.strerror(error.errno or 0)}")
    if options.json:
        say_json(_collect(store, path, options.perms), indent=1)
        return 0
    _show(store, path, names, 0, options)
    return 0


def _fetch(
    store: StoreClient, path: str, names: Sequence[str], perms: bool
) -> list[tuple[str, bytes, list[str], list[str]]]:
    """(name, value, children, permissions) of every child, in one go; who vanished is left out."""
    batch: list[requests.Request[bytes | list[str]]] = []
    for name in names:
        child = _join(path, name)
        batch += [requests.read_bytes(child), requests.directory(child)]
        if perms:
            batch.append(requests.get_perms(child))
    results = store.pipeline(batch)
    step = 3 if perms else 2
    found = []
    for index, name in enumerate(names):
        value, children, *rest = results[index * step : (index + 1) * step]
        if not isinstance(value, bytes):
            continue
        if not isinstance(children, list):
            children = store.directory(_join(path, name))  # too long for one answer
        entry = rest[0] if rest and isinstance(rest[0], list) else []
        found.append((name, value, children, entry))
    return found


def _show(
    store: StoreClient, path: str, names: Sequence[str], depth: int, options: argparse.Namespace
) -> None:
    width = _width()
    for name, value, children, perms in _fetch(store, path, names, options.perms):
        child = _join(path, name)
        line = _full(child, value) if options.full else _short(name, value, depth, width)
        if options.perms:
            room = 0 if options.full else min(DESIRED_WIDTH, width)
            if options.full or not line.endswith('\\..."'):
                line += " " + "".join(
                    "." if column & 1 else " " for column in range(len(line) + 1, room)
                )
            line += f"  ({','.join(perms)})"
        say(line)
        if children:
            _show(store, child, children, depth + 1, options)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns - 2
    except (OSError, ValueError):
        return _PLAIN_WIDTH


def _full(path: str, value: bytes) -> str:
    return f'{path} = "{escape(value)}"'


def _short(name: str, value: bytes, depth: int, width: int) -> str:
    """A line of ``ls`` without ``-f``: a long value is cut at the edge of the screen."""
    room = width - _TAG_LENGTH - depth
    text = " " * depth + (name[:room] if room >= 0 else name)
    room = width - _TAG_LENGTH - len(text)
    shown = escape(value)
    if width < len(text) + len(value) + _TAG_LENGTH:
        return f'{text} = "{shown[:room] if room >= 0 else shown}\\..."'
    return f'{text} = "{shown}"'


def _collect(store: StoreClient, path: str, perms: bool) -> dict[str, Tree]:
    found: dict[str, Tree] = {}
    stack = [(path, store.directory(path))]
    while stack:
        above, names = stack.pop()
        for name, value, children, entry in _fetch(store, above, names, perms):
            child = _join(above, name)
            found[child] = {"value": requests.decode(value)}
            if perms:
                found[child]["perms"] = entry
            if children:
                stack.append((child, children))
    return dict(sorted(found.items()))


# -- the others --------------------------------------------------------------------------------


def _in_transaction(store: StoreClient, fn: Callable[[Transaction], list[str]], what: str) -> int:
    """Run *fn*, whose lines are printed when the transaction has gone through."""
    say(*store.transaction(fn, what))
    return 0


class _Stop(Exception):
    """A refused request ends the command with this text."""


def _read(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> list[str]:
        values: dict[str, bytes] = {}
        for key in options.keys:
            try:
                values[key] = tx.read_bytes(key)
            except StoreError as error:
                raise _Stop(f"xenstore-read: couldn't read path {key}") from error
        if options.json:
            return [as_json({k: requests.decode(v) for k, v in values.items()}, None)]
        lines = []
        for key in options.keys:
            prefix = f"{key}: " if options.prefix else ""
            lines.append(f"{prefix}{escape(values[key])}")
        return lines

    return _guarded(store, body, "read")


def _write(store: SocketStore, options: argparse.Namespace) -> int:
    pairs = list(zip(options.pairs[::2], options.pairs[1::2], strict=True))

    def body(tx: Transaction) -> list[str]:
        for key, value in pairs:
            try:
                tx.write(key, unescape(value))
            except StoreError as error:
                raise _Stop(f"xenstore-write: could not write path {key}") from error
        return [as_json({"written": [key for key, _ in pairs]}, None)] if options.json else []

    return _guarded(store, body, "write")


def unescape(text: str) -> bytes:
    """What ``xenstore-write`` makes of a value (``unsanitise_value``): ``\\t``, ``\\n``, ``\\r``,
    up to three octal digits, ``\\x`` and up to two hexadecimal ones."""
    return _ESCAPE.sub(_unescaped, requests.encode(text))


_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1].isdigit() and code < b"8":
        return bytes([int(code, 8) & 0xFF])
    if len(code) > 1:
        return bytes([int(code[1:], 16)])
    return {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(code, code)


def _list(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> list[str]:
        found: dict[str, list[str]] = {}
        for key in options.keys:
            try:
                names = tx.directory(key)
            except StoreError as error:
                raise _Stop(f"xenstore-list: could not list path {key}") from error
            found[key] = [_join(key, name) for name in names] if options.prefix else names
        if options.json:
            return [as_json(found, None)]
        return [name for key in options.keys for name in found[key]]

    return _guarded(store, body, "list")


def _rm(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> list[str]:
        for key in options.keys:
            try:
                tx.rm(key)
            except StoreError as error:
                raise _Stop(f"xenstore-rm: could not remove path {key}") from error
            if options.tidy:
                _tidy(tx, key)
        return [as_json({"removed": options.keys}, None)] if options.json else []

    return _guarded(store, body, "rm")


def _tidy(tx: Transaction, path: str) -> None:
    """Remove parents that have no value and no children left."""
    while "/" in path.rstrip("/"):
        path = path.rpartition("/")[0]
        if not path:
            return
        with contextlib.suppress(StoreNotFound):
            if tx.directory(path) or tx.read_bytes(path):
                return
            tx.rm(path)


def _guarded(store: StoreClient, body: Callable[[Transaction], list[str]], what: str) -> int:
    try:
        return _in_transaction(store, body, what)
    except _Stop as stop:
        return _fail(str(stop))


def _watch(store: SocketStore, options: argparse.Namespace) -> int:
    left = options.count

    def fired(path: str) -> None:
        nonlocal left
        if left == 0:
            return
        left -= 1
        say(as_json({"path": path}, None) if options.json else path)

    for key in options.keys:
        try:
            store.watch(key, fired)
        except StoreError:
            return _fail(f"xenstore-watch: Unable to add watch on {key}")
    while left != 0:
        store.poll(None)
    return 0


def _control(store: SocketStore, options: argparse.Namespace) -> int:
    try:
        text = store.control(*options.words)
    except StoreError as error:
        warn(f"Error {error.errno} when trying to execute command.")
        return 3
    say(*([as_json({"answer": text}, None)] if options.json else text.split("\n")))
    return 0


_VERBS: Final[dict[str, Callable[[SocketStore, argparse.Namespace], int]]] = {
    "ls": _ls,
    "read": _read,
    "write": _write,
    "list": _list,
    "rm": _rm,
    "watch": _watch,
    "control": _control,
    "live-update": update_command.run,
}
