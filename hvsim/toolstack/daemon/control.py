"""The control wire: who wants something of the toolstack asks here.

A request is one msgpack map with a ``verb``; the answer is a row of maps: ``out``, ``err`` (text)
and last ``exit`` with ``data``.  A client has one request under way; ``{"verb": "cancel"}`` ends
it, and so does hanging up.  Whatever comes in, the daemon goes on: what it does not understand it
says so.

Who hears nothing for a while asks ``{"verb": "status", "asked": n}``, and is told at once, between
the maps of the answer, with the same ``asked``: ``status`` with ``yours``, the task that its
request is (None: there is none, as after the death of a toolstack that had one), and ``others``,
everything else that is under way.  Each names what it waits for, and what keeps that from coming
(``waiting``).
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.daemon.clients import Client
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.reasons import reason
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.host.starting import NotStartedError
from hvsim.toolstack.host.waiting import Task, working
from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.packing import MALFORMED, unpack
from hvsim.xs.requests import StoreError

MAX_REQUESTS: Final = 256
"""Requests under way at a time."""
MAX_TOLD: Final = 16
"""Other tasks that a status tells of."""

CARRIED_ON: Final = frozenset({"stop"})
"""What goes on when whoever asked for it has gone: a lab that began to go down goes down."""

Verb = Callable[[dict[str, Any], Reply], Awaitable[int]]


@dataclass(slots=True)
class Request:
    """One request under way.

    Attributes:
        task: what the toolstack does for it, once that has begun.
    """

    fields: dict[str, Any]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    task: Task | None = None


class ControlServer:
    """Serves *verbs*; ``clients.serve`` brings whoever asks for one.

    A verb gets the request and a Reply, and returns an exit code; what it raises becomes text.
    """

    def __init__(
        self,
        verbs: Mapping[str, Verb],
        log: Callable[[str], None],
        toolstack: Toolstack,
        tasks: TaskGroup,
    ) -> None:
        self._toolstack = toolstack
        self._verbs = verbs
        self._log = log
        self._tasks = tasks
        self._running: dict[Client, Request] = {}

    def receive(self, client: Client, frame: bytes) -> None:
        """See ``clients.Service``."""
        try:
            request = unpack(frame)
        except MALFORMED:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            _refuse(client, "a request is one msgpack map with a verb")
        elif request["verb"] == "status":
            client.send({"status": self._status(client), "asked": request.get("asked", 0)})
        elif request["verb"] == "cancel":
            if client in self._running:
                self._running[client].scope.cancel()
        elif client in self._running:
            _refuse(client, "this connection has a request under way")
        elif len(self._running) >= MAX_REQUESTS:
            _refuse(client, f"{MAX_REQUESTS} requests are under way; try again")
        elif request["verb"] not in self._verbs:
            known = ", ".join(sorted(self._verbs))
            _refuse(client, f"no verb {request['verb']!r}; there are: {known}")
        else:
            self._running[client] = begun = Request(request)
            self._tasks.start_soon(self._run, client, begun)

    def oversized(self, client: Client, size: int) -> None:
        """See ``clients.Service``."""
        _refuse(client, f"a request of {size} bytes, and {MESSAGE_MAX} are taken")

    def left(self, client: Client) -> None:
        """See ``clients.Service``."""
        begun = self._running.get(client)
        if begun is not None and begun.fields["verb"] not in CARRIED_ON:
            begun.scope.cancel()

    async def _run(self, client: Client, begun: Request) -> None:
        code = 130  # as after Ctrl-C
        reply = Reply(client.send)
        with working(_title(begun.fields), self._toolstack.working) as begun.task:
            try:
                with begun.scope:
                    code = await self._answer(begun.fields, reply)
            finally:
                del self._running[client]
        await reply.finish(code)

    async def _answer(self, request: dict[str, Any], reply: Reply) -> int:
        verb = request["verb"]
        try:
            return await self._verbs[verb](request, reply)
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

    def _status(self, client: Client) -> dict[str, Any]:
        """What this toolstack does for one client, and what else."""
        now, begun = anyio.current_time(), self._running.get(client)
        # Who has just asked may not have a task yet; its request is known all the same.
        yours = begun.task or Task("a request that has just come") if begun is not None else None
        census = self._toolstack.census()
        others = [task for task in self._toolstack.working if task is not yours]
        return {
            "yours": None if yours is None else yours.describe(census, now),
            "others": [task.describe(census, now) for task in others[:MAX_TOLD]],
        }


def _title(request: Mapping[str, Any]) -> str:
    """A request in a few words: ``xl create web.cfg``."""
    argv = request.get("argv")
    words = [str(word) for word in argv[:3]] if isinstance(argv, list) else []
    return " ".join([str(request["verb"]), *words])[:100]


def _refuse(client: Client, text: str) -> None:
    client.send({"err": f"control: {text}\n"})
    client.send({"exit": 2, "data": None})
