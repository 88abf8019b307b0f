"""Hypercalls that are answered when something has happened: awaited, and nobody else waits.

``destroydomain`` is answered when the domain's processes are really gone, ``pausedomain`` when they
stand still.  That may take as long as a process sits in the kernel.  Such a call gets a tag; its
answer comes over the same connection, between those to other calls, and finds its task here.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from hvsim.abi.hypercall import MAX_TAG
from hvsim.domain.hypercall import HypercallError, Hypercalls


class Deferred:
    """The awaited calls of one process, over its one connection.

    Nothing is listened to before the first call, and nothing while no call is open: the loop hears
    of the connection only when an answer is to come.
    """

    def __init__(self, hypercall: Hypercalls) -> None:
        self._hypercall: Final = hypercall
        self._open: Final[dict[int, asyncio.Future[Sequence[Any]]]] = {}
        self._tag = 0
        hypercall.on_late = self._answered

    async def call(self, call: int, cmd: int, *args: Any) -> list[Any]:
        """Make a hypercall and wait for its answer, however late; returns the results.

        Cancelled, it is done all the same, and nobody hears of it.  Raises: HypercallError.
        """
        tag = self._next_tag()
        results = self._hypercall.begin(tag, call, cmd, *args)
        if results is not None:
            return results
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[Any]] = loop.create_future()
        if not self._open:
            loop.add_reader(self._hypercall.fileno(), self._hypercall.take_late)
        self._open[tag] = future
        reply = await future
        if reply[0]:
            raise HypercallError(-reply[0], call, cmd)
        return list(reply[1:])

    def _next_tag(self) -> int:
        while True:
            self._tag = self._tag % MAX_TAG + 1
            if self._tag not in self._open:
                return self._tag

    def _answered(self, tag: int, reply: Sequence[Any]) -> None:
        future = self._open.pop(tag, None)
        if future is None:
            return
        if not self._open:
            future.get_loop().remove_reader(self._hypercall.fileno())
        if not future.done():
            future.set_result(reply)
