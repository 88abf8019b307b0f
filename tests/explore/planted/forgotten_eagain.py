"""A forgotten EAGAIN: a transaction that has met another one is taken for done, and what was to be
written in it is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvsim.domain.injection import Fault
from hvsim.faults.inject.swap import swap
from hvsim.xs import requests
from hvsim.xs.client import StoreClient, Transaction
from hvsim.xs.requests import Request


def plant(_fault: Fault) -> Callable[[], None]:
    """In a guest."""

    def once(
        client: StoreClient,
        fn: Callable[[Transaction], Any],
        _what: str,
        then: Sequence[Request[object]] = (),
    ) -> Any:
        tx = Transaction(client.call(requests.transaction_start()), client)
        result = fn(tx)
        client.pipeline([requests.transaction_end(tx, True), *then])
        return result

    return swap((StoreClient, "transaction", once))
