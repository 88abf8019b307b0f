"""The control wire: who wants something of the toolstack asks here.

What is said there: ``hvsim.wire.control``.  A request is checked as it comes
(``hvsim.wire.requests``); whatever comes in, the daemon goes on: what it does not understand it
says so.

Who asks for the status is told of ``yours``, the task that its request is (None: there is none, as
after the death of a toolstack that had one), and ``others``, everything else that is under way.
Each names what it waits for, and what keeps that from coming (``waiting``).
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hvsim.domain.hypercall import HypercallError
from hvsim.printable import line
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.daemon.clients import Client
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.reasons import reason
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.host.starting import NotStartedError
from hvsim.toolstack.host.waiting import Task, working
from hvsim.wire import requests, status
from hvsim.wire.control import Cancel, Err, Exit, Frame, Status, Told, Xl, verb_of
from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.lab_requests import Asked, Exec, Stop
from hvsim.wire.typed import write
from hvsim.xs.requests import StoreError

MAX_REQUESTS: Final = 256
"""Requests under way at a time."""
MAX_TOLD: Final = 16
"""Other tasks that a status tells of."""

Serve = Callable[[Asked, Reply], Awaitable[int]]


@dataclass(slots=True)
class Begun:
    """One request under way.

    Attributes:
        task: what the toolstack does for it, once that has begun.
    """

    request: Asked
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    task: Task | None = None


class ControlServer:
    """Has every request served; ``clients.serve`` brings whoever asks.

    Args:
        serve: gets the request and a Reply, and returns an exit code; what it raises becomes text.
    """

    def __init__(
        self,
        serve: Serve,
        log: Callable[[str], None],
        toolstack: Toolstack,
        tasks: TaskGroup,
    ) -> None:
        self._toolstack = toolstack
        self._serve = serve
        self._log = log
        self._tasks = tasks
        self._running: dict[Client, Begun] = {}

    def receive(self, client: Client, frame: bytes) -> None:
        """See ``clients.Service``."""
        try:
            request = requests.read(frame)
        except requests.BadRequest as bad:
            _refuse(client, str(bad), bad.code)
            return
        begun = self._running.get(client)
        if isinstance(request, Status):
            _send(client, Told(write(self._status(begun)), request.asked))
        elif isinstance(request, Cancel):
            if begun is not None:
                begun.scope.cancel()
        elif begun is not None:
            _refuse(client, "control: this connection has a request under way")
        elif len(self._running) >= MAX_REQUESTS:
            _refuse(client, f"control: {MAX_REQUESTS} requests are under way; try again")
        else:
            self._running[client] = begun = Begun(request)
            self._tasks.start_soon(self._run, client, begun)

    def oversized(self, client: Client, size: int) -> None:
        """See ``clients.Service``."""
        _refuse(client, f"control: a request of {size} bytes, and {MESSAGE_MAX} are taken")

    def left(self, client: Client) -> None:
        """See ``clients.Service``."""
        begun = self._running.get(client)
        # A lab that began to go down goes down.
        if begun is not None and not isinstance(begun.request, Stop):
            begun.scope.cancel()

    async def _run(self, client: Client, begun: Begun) -> None:
        code = 130  # as after Ctrl-C
        reply = Reply(partial(_send, client))
        with working(_title(begun.request), self._toolstack.working) as begun.task:
            try:
                with begun.scope:
                    code = await self._answer(begun.request, reply)
            finally:
                del self._running[client]
        await reply.finish(code)

    async def _answer(self, request: Asked, reply: Reply) -> int:
        verb = verb_of(request)
        try:
            return await self._serve(request, reply)
        except (ToolstackError, ConfigError) as failure:
            if isinstance(failure, NotStartedError):
                reply.data = {"not_started": str(failure)}
            await reply.err(*failure.lines)
            return failure.code
        except (StoreError, HypercallError, OSError) as failure:
            await reply.err(f"{verb}: {reason(failure)}")
            return 1
        except Exception as bug:  # one request's bug is not the daemon's end
            text = "".join(traceback.format_exception(bug)).rstrip()
            self._log(f"{verb}: {text}")
            await reply.err(f"{verb}: {type(bug).__name__}: {bug} (see log/toolstack.log)")
            return 1

    def _status(self, begun: Begun | None) -> status.Status:
        """What this toolstack does for one client, and what else."""
        now = anyio.current_time()
        # Who has just asked may not have a task yet; its request is known all the same.
        yours = begun.task or Task("a request that has just come") if begun is not None else None
        census = self._toolstack.census()
        others = [task for task in self._toolstack.working if task is not yours]
        return status.Status(
            yours=None if yours is None else yours.describe(census, now),
            others=tuple(task.describe(census, now) for task in others[:MAX_TOLD]),
        )


def _title(request: Asked) -> str:
    """A request in a few words: ``xl create web.cfg``."""
    words = request.argv[:3] if isinstance(request, Xl | Exec) else ()
    return " ".join([verb_of(request), *words])[:100]


def _refuse(client: Client, text: str, code: int = 2) -> None:
    _send(client, Err(f"{line(text)}\n"))
    _send(client, Exit(code))


def _send(client: Client, frame: Frame) -> None:
    client.send(frame._asdict())
