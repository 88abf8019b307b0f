"""The loop of a transaction: begin, do, commit; all anew after a conflict.

::

    for attempt in attempts():
        tx = call(requests.transaction_start())
        with attempt.running(lambda: abort(tx)):
            result = fn(tx)
            attempt.commits()
            call(requests.transaction_end(tx, True))
            return result
    raise too_many(what)

The same for who waits and for who awaits.  What *fn* raises aborts the transaction and passes
through, but EAGAIN: the transaction has met another one, or the store has died under it, and is to
be begun anew, so *fn* must have no other effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from hvsim.abi import errno as xen_errno
from hvsim.xs.errors import StoreDisconnected, StoreError

MAX_ATTEMPTS: Final = 64
"""How often a transaction is begun anew after EAGAIN before it is given up."""


class Attempt:
    """One time through; a context manager around what is done in the transaction.

    Attributes:
        number: 0 for the first.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._abort: Callable[[], object] | None = None

    def running(self, abort: Callable[[], object]) -> Self:
        """The transaction is open; *abort* ends it in vain.  It must not raise."""
        self._abort = abort
        return self

    def commits(self) -> None:
        """From here on the store ends the transaction by itself, whatever it answers."""
        self._abort = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, StoreDisconnected):
            return False
        if self._abort is not None:
            self._abort()
        return isinstance(error, StoreError) and error.errno == xen_errno.EAGAIN


def attempts() -> Iterator[Attempt]:
    """As many as there may be."""
    return (Attempt(number) for number in range(MAX_ATTEMPTS))


def too_many(what: str) -> StoreError:
    """What ends a transaction that has met a conflict each time; *what* names its purpose."""
    return StoreError(xen_errno.EAGAIN, "TRANSACTION", what)
