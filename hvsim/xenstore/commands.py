"""``hvsim xenstore ls|read|write|list|rm|watch``: the output of Debian's xenstore-* tools.

Texts, order and exit codes are those of xenstore-utils 4.17; ``--json`` is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from hvsim.domain.xenbus import requests
from hvsim.domain.xenbus.client import StoreClient, Transaction
from hvsim.domain.xenbus.requests import StoreDisconnected, StoreError, StoreNotFound
from hvsim.xenstore.client import SocketStore, connect

TAG_START: Final = 60
"""Column at which ``ls -p`` without ``-f`` puts the permissions."""

Tree = dict[str, Any]


class _Parser(argparse.ArgumentParser):
    """Usage errors go to stderr with exit status 1, as the real tools do."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(1)


def _parser() -> _Parser:
    parser = _Parser(prog="xenstore", description="Look at and change the running lab's store.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    ls = verbs.add_parser("ls", help="show a tree, e.g. `ls -f -p /local/domain/1`")
    ls.add_argument("-f", dest="full", action="store_true", help="full paths")
    ls.add_argument("-p", dest="perms", action="store_true", help="with permissions")
    ls.add_argument("path", nargs="?", default="/")
    read = verbs.add_parser("read", help="print values, e.g. `read /local/domain/0/name`")
    read.add_argument("-p", dest="prefix", action="store_true", help="print `key: value`")
    read.add_argument("keys", nargs="+", metavar="key")
    write = verbs.add_parser("write", help="set values, e.g. `write /a 1 /b 2`")
    write.add_argument("pairs", nargs="+", metavar="key value")
    listing = verbs.add_parser("list", help="names below a node, e.g. `list /local/domain`")
    listing.add_argument("-p", dest="prefix", action="store_true", help="print whole paths")
    listing.add_argument("keys", nargs="+", metavar="key")
    rm = verbs.add_parser("rm", help="remove nodes, e.g. `rm /a`")
    rm.add_argument("-t", dest="tidy", action="store_true", help="and parents left empty")
    rm.add_argument("keys", nargs="+", metavar="key")
    watch = verbs.add_parser("watch", help="print paths that change, e.g. `watch -n 3 /a`")
    watch.add_argument("-n", dest="count", type=int, default=-1, help="end after COUNT events")
    watch.add_argument("keys", nargs="+", metavar="key")
    for verb in (ls, read, write, listing, rm, watch):
        verb.add_argument("--json", action="store_true", help="one JSON value")
    return parser


def main(argv: Sequence[str], socket_path: str) -> int:
    """Run one command against the store at *socket_path*; returns its exit code."""
    try:
        options = _parser().parse_args(list(argv))
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 1
    name = f"xenstore {options.verb}"
    if options.verb == "write" and len(options.pairs) % 2:
        return _fail(f"{name}: each key needs a value")
    try:
        with connect(socket_path, "CLI") as store:
            return _VERBS[options.verb](store, options)
    except BrokenPipeError:
        # Whoever reads our output has gone (`| head`); nothing is left to be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    print(text, file=sys.stderr)
    return 1


def escape(value: bytes) -> str:
    """A value as ``xenstore-ls`` shows it: what is not printable ASCII is escaped."""
    out = []
    for byte in value:
        if 0x20 <= byte <= 0x7E and byte not in (0x22, 0x5C):
            out.append(chr(byte))
        else:
            out.append(_ESCAPES.get(byte) or f"\\x{byte:02x}")
    return "".join(out)


_ESCAPES: Final = {
    0x00: "\\000", 0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v",
    0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
}


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if path.endswith("/") else f"{path}/{name}"


# -- ls ----------------------------------------------------------------------------------------


def _ls(store: SocketStore, options: argparse.Namespace) -> int:
    path = options.path
    try:
        names = store.directory(path)
    except StoreNotFound:
        return _fail(f"xenstore ls: xs_directory ({path}): No such file or directory")
    except StoreError as error:
        return _fail(f"xenstore ls: xs_directory ({path}): {os.strerror(error.errno or 0)}")
    if options.json:
        print(json.dumps(_collect(store, path, options.perms), indent=1))
        return 0
    _show(store, path, names, 0, options)
    return 0


def _fetch(
    store: StoreClient, path: str, names: Sequence[str], perms: bool
) -> list[tuple[str, bytes, list[str], list[str]]]:
    """(name, value, children, permissions) of every child, in one go; who vanished is left out."""
    batch = []
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
        if isinstance(value, StoreError):
            continue
        if isinstance(children, StoreError):
            children = store.directory(_join(path, name))  # too long for one answer
        entry = rest[0] if rest and not isinstance(rest[0], StoreError) else []
        found.append((name, value, children, entry))
    return found


def _show(
    store: StoreClient, path: str, names: Sequence[str], depth: int, options: argparse.Namespace
) -> None:
    for name, value, children, perms in _fetch(store, path, names, options.perms):
        text = _join(path, name) if options.full else " " * depth + name
        line = f'{text} = "{escape(value)}"'
        if options.perms:
            pad = "   " if options.full else " " * max(1, TAG_START - len(line))
            line += f"{pad}({','.join(perms)})"
        print(line)
        if children:
            _show(store, _join(path, name), children, depth + 1, options)


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


def _in_transaction(
    store: StoreClient, fn: Callable[[Transaction], str], what: str
) -> int:
    """Run *fn*, whose result is printed when the transaction has gone through."""
    print(store.transaction(fn, what), end="")
    return 0


class _Stop(Exception):
    """A refused request ends the command with this text."""


def _read(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> str:
        values: dict[str, bytes] = {}
        for key in options.keys:
            try:
                values[key] = tx.read_bytes(key)
            except StoreError as error:
                raise _Stop(f"xenstore read: couldn't read path {key}") from error
        if options.json:
            return json.dumps({k: requests.decode(v) for k, v in values.items()}) + "\n"
        lines = []
        for key in options.keys:
            prefix = f"{key}: " if options.prefix else ""
            lines.append(f"{prefix}{escape_read(values[key])}\n")
        return "".join(lines)

    return _guarded(store, body, "read")


def escape_read(value: bytes) -> str:
    """A value as ``xenstore-read`` prints it."""
    return escape(value).replace('\\"', '"')


def _write(store: SocketStore, options: argparse.Namespace) -> int:
    pairs = list(zip(options.pairs[::2], options.pairs[1::2], strict=True))

    def body(tx: Transaction) -> str:
        for key, value in pairs:
            try:
                tx.write(key, unescape(value))
            except StoreError as error:
                raise _Stop(f"xenstore write: could not write path {key}") from error
        return json.dumps({"written": [key for key, _ in pairs]}) + "\n" if options.json else ""

    return _guarded(store, body, "write")


def unescape(text: str) -> bytes:
    """What ``xenstore-write`` makes of a value: backslash escapes become bytes."""
    data = requests.encode(text)
    if b"\\" not in data:
        return data
    out = bytearray()
    position = 0
    simple = {0x61: 7, 0x62: 8, 0x74: 9, 0x6E: 10, 0x76: 11, 0x66: 12, 0x72: 13}
    while position < len(data):
        byte = data[position]
        position += 1
        if byte != 0x5C or position == len(data):
            out.append(byte)
            continue
        code = data[position]
        position += 1
        if code == 0x78:
            end = position
            while end < min(len(data), position + 2) and chr(data[end]) in "0123456789abcdefABCDEF":
                end += 1
            out.append(int(data[position:end] or b"0", 16))
            position = end
        elif 0x30 <= code <= 0x37:
            end = position
            while end < min(len(data), position + 2) and 0x30 <= data[end] <= 0x37:
                end += 1
            out.append(int(data[position - 1 : end], 8) & 0xFF)
            position = end
        else:
            out.append(simple.get(code, code))
    return bytes(out)


def _list(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> str:
        found: dict[str, list[str]] = {}
        for key in options.keys:
            try:
                names = tx.directory(key)
            except StoreError as error:
                raise _Stop(f"xenstore list: could not list path {key}") from error
            found[key] = [_join(key, name) for name in names] if options.prefix else names
        if options.json:
            return json.dumps(found) + "\n"
        return "".join(f"{name}\n" for key in options.keys for name in found[key])

    return _guarded(store, body, "list")


def _rm(store: SocketStore, options: argparse.Namespace) -> int:
    def body(tx: Transaction) -> str:
        for key in options.keys:
            try:
                tx.rm(key)
            except StoreError as error:
                raise _Stop(f"xenstore rm: could not remove path {key}") from error
            if options.tidy:
                _tidy(tx, key)
        return json.dumps({"removed": options.keys}) + "\n" if options.json else ""

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


def _guarded(store: StoreClient, body: Callable[[Transaction], str], what: str) -> int:
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
        print(json.dumps({"path": path}) if options.json else path, flush=True)

    for key in options.keys:
        try:
            store.watch(key, fired)
        except StoreError:
            return _fail(f"xenstore watch: Unable to add watch on {key}")
    while left != 0:
        store.poll(None)
    return 0


_VERBS: Final[dict[str, Callable[[SocketStore, argparse.Namespace], int]]] = {
    "ls": _ls,
    "read": _read,
    "write": _write,
    "list": _list,
    "rm": _rm,
    "watch": _watch,
}
