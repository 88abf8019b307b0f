"""The control wire: who wants something of the toolstack asks here (ZeroMQ ROUTER).

A request is one msgpack map with a ``verb``; the answer is a row of maps: ``out``, ``err`` (text)
and last ``exit`` with ``data``.  A client has one request under way; ``{"verb": "cancel"}`` ends
it.  Whatever comes in, the daemon goes on: what it does not understand it says so.

Who hears nothing for a while asks ``{"verb": "status", "asked": n}``, and is told at once, between
the maps of the answer, with the same ``asked``: ``status`` with ``yours``, the task that its
request is (None: there is none, as after the death of a toolstack that had one), and ``others``,
everything else that is under way.  Each names what it waits for, and what keeps that from coming
(``waiting``).
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import zmq
import zmq.asyncio
from anyio.abc import TaskGroup

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.domain.starting import NotStartedError
from hvsim.toolstack.host.errors import ToolstackError, reason
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.host.waiting import Task, working
from hvsim.wire import gate
from hvsim.wire.endpoints import MESSAGE_MAX, endpoint
from hvsim.wire.packing import MALFORMED, pack, unpack
from hvsim.xs.requests import StoreError

if TYPE_CHECKING:
    from hvsim.toolstack.host.context import Toolstack

MAX_REQUESTS: Final = 256
"""Requests under way at a time."""
MAX_TOLD: Final = 16
"""Other tasks that a status tells of."""

Verb = Callable[[dict[str, Any], Reply], Awaitable[int]]


class ControlServer:
    """Serves *verbs* at *endpoint*.

    A verb gets the request and a Reply, and returns an exit code; what it raises becomes text.
    """

    def __init__(
        self,
        endpoint: str,
        verbs: Mapping[str, Verb],
        log: Callable[[str], None],
        toolstack: Toolstack,
    ) -> None:
        self._toolstack = toolstack
        self._tasks: dict[bytes, Task] = {}
        self._endpoint = endpoint
        self._verbs = verbs
        self._log = log
        self._running: dict[bytes, anyio.CancelScope] = {}

    async def serve(self, tasks: TaskGroup) -> None:
        """Answer until cancelled."""
        context = zmq.asyncio.Context()
        door: zmq.asyncio.Socket = context.socket(zmq.REP)
        door.setsockopt(zmq.LINGER, 0)
        door.bind(gate.ENDPOINT)
        tasks.start_soon(_ask_peers, door)
        socket: zmq.asyncio.Socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.ZAP_DOMAIN, gate.DOMAIN)
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_MAX)
        socket.bind(endpoint(self._endpoint))
        try:
            while True:
                parts = await socket.recv_multipart()
                self._receive(tasks, socket, parts)
        finally:
            socket.close()
            door.close()
            context.term()

    def _receive(self, tasks: TaskGroup, socket: zmq.asyncio.Socket, parts: list[bytes]) -> None:
        identity, frame = parts[0], parts[-1]

        async def send(message: Mapping[str, Any]) -> None:
            await socket.send_multipart([identity, pack(dict(message))])

        reply = Reply(send)
        try:
            request = unpack(frame) if len(parts) == 2 else None
        except MALFORMED:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            tasks.start_soon(_refuse, reply, "a request is one msgpack map with a verb")
        elif request["verb"] == "status":
            told = {"status": self._status(identity), "asked": request.get("asked", 0)}
            tasks.start_soon(send, told)
        elif request["verb"] == "cancel":
            scope = self._running.get(identity)
            if scope is not None:
                scope.cancel()
        elif identity in self._running:
            tasks.start_soon(_refuse, reply, "this connection has a request under way")
        elif len(self._running) >= MAX_REQUESTS:
            tasks.start_soon(_refuse, reply, f"{MAX_REQUESTS} requests are under way; try again")
        elif request["verb"] not in self._verbs:
            known = ", ".join(sorted(self._verbs))
            tasks.start_soon(_refuse, reply, f"no verb {request['verb']!r}; there are: {known}")
        else:
            scope = self._running[identity] = anyio.CancelScope()
            tasks.start_soon(self._run, identity, scope, request, reply)

    async def _run(
        self, identity: bytes, scope: anyio.CancelScope, request: dict[str, Any], reply: Reply
    ) -> None:
        code = 130  # as after Ctrl-C
        with working(_title(request), self._toolstack.working) as task:
            self._tasks[identity] = task
            try:
                with scope:
                    code = await self._answer(request, reply)
            finally:
                del self._running[identity], self._tasks[identity]
        with anyio.move_on_after(5.0):
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

    def _status(self, identity: bytes) -> dict[str, Any]:
        """What this toolstack does for one client, and what else."""
        now, yours = anyio.current_time(), self._tasks.get(identity)
        # Who has just asked may not have a task yet; its request is known all the same.
        if yours is None and identity in self._running:
            yours = Task("a request that has just come")
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


async def _ask_peers(door: zmq.asyncio.Socket) -> None:
    """Let nobody in who is not one of the lab's own people."""
    while True:
        await door.send_multipart(gate.answer(await door.recv_multipart()))


async def _refuse(reply: Reply, text: str) -> None:
    await reply.err(f"control: {text}")
    await reply.finish(2)
