"""Store requests as values: how each verb is put on the wire and what its answer means.

Pure, and shared by every client of the store: the domain's ring client, the blocking socket client
and the asynchronous one of the toolstack.  Source: xen/io/xs_wire.h, docs/misc/xenstore.txt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from hvsim.abi import errno as xen_errno
from hvsim.abi import xs_wire
from hvsim.xs.errors import StoreDisconnected as StoreDisconnected
from hvsim.xs.errors import StoreError as StoreError
from hvsim.xs.errors import StoreNotFound as StoreNotFound
from hvsim.xs.errors import store_error as store_error

T_co = TypeVar("T_co", covariant=True)
"""What the answer to a request means."""

ENCODING: Final = "utf-8"
_ERRORS: Final = "surrogateescape"


def encode(text: str | bytes) -> bytes:
    """Text as the store keeps it; bytes pass unchanged."""
    return text.encode(ENCODING, _ERRORS) if isinstance(text, str) else text


def decode(data: bytes) -> str:
    """Any bytes as text; bytes that are no UTF-8 survive the way back through :func:`encode`."""
    return data.decode(ENCODING, _ERRORS)


def _argument(text: str | bytes, op: int) -> bytes:
    """One NUL-terminated argument.  Raises StoreError(EINVAL) for text that contains a NUL: on
    the wire it would become two arguments."""
    data = encode(text)
    if b"\0" in data:
        raise StoreError(xen_errno.EINVAL, xs_wire.TYPE_NAMES[op], repr(text))
    return data + b"\0"


def strings(data: bytes) -> list[str]:
    """The NUL-terminated strings of a payload."""
    return [decode(part) for part in data.split(b"\0")[:-1]] if data else []


def _text(data: bytes) -> str:
    return decode(data.rstrip(b"\0"))


def _nothing(_data: bytes) -> None:
    return None


def _flag(data: bytes) -> bool:
    return data[:1] == b"T"


def _number(data: bytes) -> int:
    return int(data.rstrip(b"\0"))


def _raw(data: bytes) -> bytes:
    return bytes(data)


def values(results: Iterable[str | StoreError]) -> list[str | None]:
    """Of many READs made in one go: None for each that was refused.

    Raises: StoreError(EAGAIN): the transaction has ended, so "missing" would be a lie.
    """
    found: list[str | None] = []
    for result in results:
        if isinstance(result, StoreError):
            if result.errno == xen_errno.EAGAIN:
                raise result
            found.append(None)
        else:
            found.append(result)
    return found


class Request(NamedTuple, Generic[T_co]):
    """One request, whose good answer means a T_co.

    Attributes:
        op: XS_*.
        tx: transaction id, 0 for none.
        payload: what follows the header.
        path: the first argument, for error texts.
        answer: turns the payload of a good reply into the verb's result.
    """

    op: int
    tx: int
    payload: bytes
    path: str
    answer: Callable[[bytes], T_co]

    @property
    def name(self) -> str:
        """Name of the operation, ``"READ"``."""
        return xs_wire.TYPE_NAMES.get(self.op, str(self.op))

    @property
    def awaited(self) -> str:
        """What one waits for, in words."""
        return f"the store's answer to {self.name} {self.path}"

    def error(self, number: int) -> StoreError:
        """Error *number* of this request."""
        return store_error(number, self.name, self.path)

    def result(self, type: int, payload: bytes) -> T_co:
        """The result of the verb from a reply.  Raises StoreError when it is an error reply, or
        (EIO) a reply to something else."""
        if type == self.op:
            return self.answer(payload)
        if type != xs_wire.XS_ERROR:
            raise self.error(xen_errno.EIO)
        text = payload.rstrip(b"\0").decode("ascii", "replace")
        number = xs_wire.ERROR_NUMBERS.get(text, xen_errno.EINVAL)
        raise self.error(number)


def _one(op: int, tx: int, path: str, answer: Callable[[bytes], T_co]) -> Request[T_co]:
    return Request(op, tx, _argument(path, op), path, answer)


def read(path: str, tx: int = 0) -> Request[str]:
    """READ: the value as str."""
    return _one(xs_wire.XS_READ, tx, path, decode)


def read_bytes(path: str, tx: int = 0) -> Request[bytes]:
    """READ: the value as bytes."""
    return _one(xs_wire.XS_READ, tx, path, _raw)


def write(path: str, value: str | bytes, tx: int = 0) -> Request[None]:
    """WRITE: the value is stored as it is, without a NUL."""
    payload = _argument(path, xs_wire.XS_WRITE) + encode(value)
    return Request(xs_wire.XS_WRITE, tx, payload, path, _nothing)


def mkdir(path: str, tx: int = 0) -> Request[None]:
    """MKDIR: make an empty node; one that exists stays as it is."""
    return _one(xs_wire.XS_MKDIR, tx, path, _nothing)


def rm(path: str, tx: int = 0) -> Request[None]:
    """RM: remove a node and all below it."""
    return _one(xs_wire.XS_RM, tx, path, _nothing)


def directory(path: str, tx: int = 0) -> Request[list[str]]:
    """DIRECTORY: the names of the children."""
    return _one(xs_wire.XS_DIRECTORY, tx, path, strings)


Part = tuple[str, bytes, bool]
"""Generation of the list, a part of it, and whether that is its end."""


def directory_part(path: str, offset: int, tx: int = 0) -> Request[Part]:
    """DIRECTORY_PART: the names from byte *offset* on."""
    payload = _argument(path, xs_wire.XS_DIRECTORY_PART) + str(offset).encode() + b"\0"
    return Request(xs_wire.XS_DIRECTORY_PART, tx, payload, path, _part)


def _part(data: bytes) -> Part:
    generation, _, names = data.partition(b"\0")
    last = names == b"\0" or names.endswith(b"\0\0")
    return decode(generation), names[:-1] if last else names, last


def get_perms(path: str, tx: int = 0) -> Request[list[str]]:
    """GET_PERMS: ``["n0", "r1"]``, owner and default first."""
    return _one(xs_wire.XS_GET_PERMS, tx, path, strings)


def set_perms(path: str, perms: Iterable[str], tx: int = 0) -> Request[None]:
    """SET_PERMS."""
    payload = b"".join(_argument(part, xs_wire.XS_SET_PERMS) for part in (path, *perms))
    return Request(xs_wire.XS_SET_PERMS, tx, payload, path, _nothing)


def watch(path: str, token: str) -> Request[None]:
    """WATCH."""
    payload = _argument(path, xs_wire.XS_WATCH) + _argument(token, xs_wire.XS_WATCH)
    return Request(xs_wire.XS_WATCH, 0, payload, path, _nothing)


def unwatch(path: str, token: str) -> Request[None]:
    """UNWATCH."""
    payload = _argument(path, xs_wire.XS_UNWATCH) + _argument(token, xs_wire.XS_UNWATCH)
    return Request(xs_wire.XS_UNWATCH, 0, payload, path, _nothing)


def transaction_start() -> Request[int]:
    """TRANSACTION_START: the id."""
    return Request(xs_wire.XS_TRANSACTION_START, 0, b"\0", "", _number)


def transaction_end(tx: int, commit: bool) -> Request[None]:
    """TRANSACTION_END."""
    payload = b"T\0" if commit else b"F\0"
    return Request(xs_wire.XS_TRANSACTION_END, tx, payload, f"transaction {tx}", _nothing)


def introduce(domid: int, gfn: int, port: int) -> Request[None]:
    """INTRODUCE: tell the store of a domain, its ring page and its event channel."""
    return _domain(xs_wire.XS_INTRODUCE, _nothing, domid, gfn, port)


def release(domid: int) -> Request[None]:
    """RELEASE: the store forgets the domain."""
    return _domain(xs_wire.XS_RELEASE, _nothing, domid)


def is_domain_introduced(domid: int) -> Request[bool]:
    """IS_DOMAIN_INTRODUCED: bool."""
    return _domain(xs_wire.XS_IS_DOMAIN_INTRODUCED, _flag, domid)


def control(arguments: Sequence[str]) -> Request[str]:
    """CONTROL: the daemon's answer as text."""
    payload = b"".join(_argument(part, xs_wire.XS_CONTROL) for part in arguments)
    return Request(xs_wire.XS_CONTROL, 0, payload, " ".join(arguments), _text)


def _domain(op: int, answer: Callable[[bytes], T_co], *numbers: int) -> Request[T_co]:
    payload = b"".join(str(number).encode() + b"\0" for number in numbers)
    return Request(op, 0, payload, f"domain {numbers[0]}", answer)
