"""What /dev/xen/xenbus makes of the bytes that a program writes, and of the store's answers.

Pure: bytes in, bytes out.  A program writes a request in as many pieces as it likes; one that is
whole is passed on, and the rest of that write is dropped, as in Linux.  The device keeps watches
apart: each has a token of its own in the store, so that one may be set twice, and that of another
open file is none of ours.  The store's answers are one stream of bytes.

Source: Linux 6.1 drivers/xen/xenbus/xenbus_dev_frontend.c.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from hvsim.abi import xs_wire
from hvsim.abi.xs_wire import Header, pack_header, unpack_header
from hvsim.xs.wire import Inbox

HEADER: Final = xs_wire.XSD_SOCKMSG.size
BUFFER: Final = 4096
"""Bytes of a request with its header, at most: one page, which is smaller than the store's own
limit by the header (``xenbus_file_priv.u.buffer``)."""
MAX_WATCHES: Final = 1024
"""Watches of one open file.  Linux has no limit but memory; the store's quota is smaller."""
_OK: Final = b"OK\0"


@dataclass(slots=True)
class _Asked:
    """A request that the store has not answered."""

    header: Header
    watch: int = 0
    """The token of the watch that it sets or takes away; 0 for any other request."""
    silent: bool = False
    """It is ours: the program has not asked for it."""


@dataclass(slots=True)
class _Watch:
    path: bytes
    token: bytes


class Refused(Exception):
    """What the store said to a watch: the answer of the write that wanted it.

    Attributes:
        errno: a number of the store's error names.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.errno = number


class Dialogue:
    """One open file: what it has written, what it waits for, its watches and transactions.

    Attributes:
        to_store: bytes for the store.
        to_reader: bytes for the program.
        waiting: the answer to a watch is on its way, and with it the end of the write that asked
            for it; nothing else is written meanwhile.
    """

    def __init__(self) -> None:
        self.to_store = bytearray()
        self.to_reader = bytearray()
        self._partial = bytearray()
        self._answers = Inbox()
        self._asked: dict[int, _Asked] = {}
        self._next = 0
        self._watches: dict[int, _Watch] = {}
        self._transactions: set[int] = set()
        self._lost: set[int] = set()
        self.waiting = False
        self._outcome: int | None = None

    # -- what a program writes --------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Bytes until the header is whole, or the request."""
        if len(self._partial) < HEADER:
            return HEADER - len(self._partial)
        return HEADER + unpack_header(self._partial).len - len(self._partial)

    def check_size(self, size: int) -> None:
        """One write is refused before its bytes are looked at when they cannot be held.

        Raises: OSError(EINVAL); what was there before is gone.
        """
        if size > BUFFER - len(self._partial):
            self._partial.clear()
            raise OSError(errno.EINVAL, f"a request has {BUFFER} bytes at most")

    def write(self, data: bytes) -> None:
        """Take the bytes of one write(2); not while ``waiting``.

        It is set when the write is over only with the store's answer; see ``outcome``.

        Raises: OSError: EINVAL the buffer cannot hold them, E2BIG the header claims more than
            there may be, ENOMEM.  What was there before is gone then.
        """
        self.check_size(len(data))
        self._partial += data
        if len(self._partial) < HEADER:
            return
        header = unpack_header(self._partial)
        if HEADER + header.len > BUFFER:
            self._partial.clear()
            raise OSError(errno.E2BIG, f"a request of {header.len} bytes")
        if len(self._partial) < HEADER + header.len:
            return
        body = bytes(self._partial[HEADER : HEADER + header.len])
        self._partial.clear()
        if header.type in (xs_wire.XS_WATCH, xs_wire.XS_UNWATCH):
            self._watch(header, body)
        else:
            self._request(header, body)

    def outcome(self) -> None:
        """The end of the write that waited.  Raises: Refused."""
        number, self._outcome = self._outcome, None
        if number:
            raise Refused(number)

    def _request(self, header: Header, body: bytes) -> None:
        if header.type == xs_wire.XS_TRANSACTION_END:
            if not self._may_end(header, body):
                return
        elif header.type != xs_wire.XS_TRANSACTION_START and self._is_alien(header):
            self._reply(header, xs_wire.XS_ERROR, b"ENOENT\0")
            return
        self._ask(header, body)

    def _is_alien(self, header: Header) -> bool:
        """A transaction that was not begun through this file."""
        tx = header.tx_id
        return tx != 0 and tx not in self._transactions and tx not in self._lost

    def _may_end(self, header: Header, body: bytes) -> bool:
        """Whether the store is asked to end a transaction; if not, the answer is written."""
        if self._is_alien(header):
            self._reply(header, xs_wire.XS_ERROR, b"ENOENT\0")
        elif body not in (b"T\0", b"F\0"):
            self._reply(header, xs_wire.XS_ERROR, b"EINVAL\0")
        elif header.tx_id in self._lost:
            self._lost.discard(header.tx_id)
            if body == b"T\0":
                self._reply(header, xs_wire.XS_ERROR, b"EAGAIN\0")
            else:
                self._reply(header, xs_wire.XS_TRANSACTION_END, _OK)
        else:
            return True
        return False

    def _watch(self, header: Header, body: bytes) -> None:
        path, end, rest = body.partition(b"\0")
        token, more, _ = rest.partition(b"\0")
        if not end or not more:
            self._reply(header, xs_wire.XS_ERROR, b"EINVAL\0")
            return
        if header.type == xs_wire.XS_WATCH:
            if len(self._watches) >= MAX_WATCHES:
                raise OSError(errno.ENOMEM, f"{MAX_WATCHES} watches is the limit")
            number = self._number()
            self._watches[number] = _Watch(path, token)
        else:
            wanted = _Watch(path, token)
            # The newest first, as Linux finds it at the head of its list.
            found = [n for n, one in reversed(self._watches.items()) if one == wanted]
            if not found:
                self._reply(header, header.type, _OK)
                return
            number = found[0]
            del self._watches[number]
        self.waiting = True
        self._ask(header, path + b"\0%X\0" % number, number)

    def _number(self) -> int:
        self._next = self._next % 0xFFFF_FFFE + 1
        return self._next

    def _ask(self, header: Header, body: bytes, watch: int = 0, silent: bool = False) -> None:
        number = self._number()
        self._asked[number] = _Asked(header, watch, silent)
        self.to_store += pack_header(header.type, number, header.tx_id, len(body)) + body

    def _reply(self, header: Header, kind: int, body: bytes) -> None:
        self.to_reader += pack_header(kind, header.req_id, header.tx_id, len(body)) + body

    # -- what the store says ------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """Take bytes of the store.  Raises: ValueError for what no store says."""
        self._answers.add(data)
        while (message := self._answers.take()) is not None:
            kind, number, _tx, body = message
            if kind == xs_wire.XS_WATCH_EVENT:
                self._event(body)
            else:
                self._answer(kind, number, body)

    def _event(self, body: bytes) -> None:
        path, _, rest = body.partition(b"\0")
        token, end, rest = rest.partition(b"\0")
        try:
            watch = self._watches.get(int(token, 16)) if end else None
        except ValueError:
            raise ValueError(f"an event of token {token!r}") from None
        if watch is not None:  # else: it was taken away meanwhile
            told = path + b"\0" + watch.token + b"\0" + rest
            self.to_reader += pack_header(xs_wire.XS_WATCH_EVENT, 0, 0, len(told)) + told

    def _answer(self, kind: int, number: int, body: bytes) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            raise ValueError(f"an answer to request {number}, which is none")
        if asked.silent:
            return
        refused = kind == xs_wire.XS_ERROR
        if asked.watch:
            self._watch_answered(asked, body if refused else b"")
            return
        if asked.header.type == xs_wire.XS_TRANSACTION_START and not refused:
            self._transactions.add(int(body.rstrip(b"\0")))
        elif asked.header.type == xs_wire.XS_TRANSACTION_END:
            self._transactions.discard(asked.header.tx_id)
        self._reply(asked.header, kind, body)

    def _watch_answered(self, asked: _Asked, error: bytes) -> None:
        self.waiting = False
        if asked.header.type == xs_wire.XS_WATCH and error:
            self._watches.pop(asked.watch, None)
            name = error.rstrip(b"\0").decode("ascii", "replace")
            self._outcome = xs_wire.ERROR_NUMBERS.get(name, errno.EINVAL)
            return
        self._reply(asked.header, asked.header.type, _OK)

    # -- the store's own death ------------------------------------------------------------------

    def lost(self) -> None:
        """The store is gone, and may come back.

        What was asked and not answered has failed: whether it was done, nobody knows.  A
        transaction that was open is to be begun anew.  Watches stay; :meth:`again` sets them.
        """
        self._answers.clear()
        self.to_store.clear()
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if one.silent:
                continue
            if one.watch:
                self.waiting = False
                if one.header.type == xs_wire.XS_WATCH:
                    self._watches.pop(one.watch, None)
                self._outcome = errno.EIO
            else:
                self._reply(one.header, xs_wire.XS_ERROR, b"EIO\0")
        self._lost |= self._transactions
        self._transactions.clear()

    def again(self) -> None:
        """The store is back: set the watches anew.  Each fires once for that, as at first."""
        for number, watch in self._watches.items():
            header = Header(xs_wire.XS_WATCH, 0, 0, 0)
            self._ask(header, watch.path + b"\0%X\0" % number, silent=True)
