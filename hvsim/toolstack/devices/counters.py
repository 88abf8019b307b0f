"""Asking the halves of devices for their figures (`hvsim.drivers.split.statistics`)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import anyio

from hvsim.drivers.split.statistics import ANSWER_KEY, REQUEST_KEY, parse
from hvsim.toolstack.host.store import Store
from hvsim.xs import requests
from hvsim.xs.requests import Request

PATIENCE: Final = 0.3
"""Seconds that the halves have to answer, all together; what a person waits without wondering."""
POLL: Final = 0.005
_numbers = itertools.count(1)


async def ask(store: Store, halves: Sequence[str]) -> list[dict[str, int] | None]:
    """The figures of each directory in *halves*; None for one that is gone or does not answer.

    Raises: StoreError.
    """
    token = f"{int(anyio.current_time() * 1e9):x}.{next(_numbers)}"
    there = await _question(store, halves, token)
    found: dict[str, dict[str, int]] = {}
    waiting = list(there)
    deadline = anyio.current_time() + PATIENCE
    while waiting and anyio.current_time() < deadline:
        await anyio.sleep(POLL)
        texts = await store.read_many(f"{path}/{ANSWER_KEY}" for path in waiting)
        for path, text in zip(list(waiting), texts, strict=True):
            figures = parse(text, token) if text is not None else None
            if figures is not None:
                found[path] = figures
                waiting.remove(path)
    await store.batch(
        [requests.rm(f"{path}/{key}") for path in there for key in (REQUEST_KEY, ANSWER_KEY)]
    )
    return [found.get(path) for path in halves]


async def _question(store: Store, halves: Sequence[str], token: str) -> list[str]:
    """Write the question to the halves that are there; which.  One that has just gone would be
    made anew by a plain write."""
    there: list[str] = []

    async def body(tx: int) -> None:
        states = await store.read_many((f"{path}/state" for path in halves), tx)
        there[:] = [path for path, state in zip(halves, states, strict=True) if state is not None]
        batch: list[Request[object]] = []
        for path in there:
            batch.append(requests.write(f"{path}/{REQUEST_KEY}", token)._replace(tx=tx))
        await store.apply(batch)

    if halves:
        await store.transaction(body, "ask for statistics")
    return there
