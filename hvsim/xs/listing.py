"""A list of children that does not fit into one answer: fetched in parts, and anew when it changed
meanwhile.  Pure: says what to ask for, and is told the answers."""

from __future__ import annotations

from hvsim.abi import errno as xen_errno
from hvsim.xs import requests
from hvsim.xs.errors import StoreError
from hvsim.xs.requests import Part, Request
from hvsim.xs.transaction import MAX_ATTEMPTS


class Listing:
    """The names below *path*."""

    def __init__(self, path: str, tx: int) -> None:
        self._path = path
        self._tx = tx
        self._generation = ""
        self._names = b""
        self._attempts = 1

    @property
    def request(self) -> Request[Part]:
        """What to ask for next."""
        return requests.directory_part(self._path, len(self._names), self._tx)

    def take(self, part: Part) -> list[str] | None:
        """The names, when *part* was the last of them.

        Raises: StoreError: EAGAIN when the list has changed too often; EIO for an answer that
            leads nowhere.
        """
        generation, names, last = part
        if self._generation and generation != self._generation:
            self._generation, self._names = "", b""
            self._attempts += 1
            if self._attempts > MAX_ATTEMPTS:
                raise StoreError(xen_errno.EAGAIN, "DIRECTORY_PART", self._path)
            return None
        self._generation = generation
        self._names += names
        if last:
            return requests.strings(self._names)
        if not names:
            raise StoreError(xen_errno.EIO, "DIRECTORY_PART", self._path)
        return None
