"""The toolstack as a process of dom0: verbs over the control wire, and what happens by itself."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio

from hvsim import __version__
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack import attached, create, execute, lifecycle, processes, script, starting
from hvsim.toolstack.capture import Captures
from hvsim.toolstack.context import Defaults, Guest, Toolstack
from hvsim.toolstack.control import ControlServer
from hvsim.toolstack.destroy import destroy, end
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.reply import Reply
from hvsim.toolstack.supervise import follow, mourn, supervise
from hvsim.toolstack.xl import main as xl

READY_TIMEOUT: Final = 20.0
"""Seconds that dom0's other processes have to start."""
ACTIONS: Final = ("kill", "stall", "resume")


class Verbs:
    """The verbs of the control wire, one method each."""

    def __init__(self, toolstack: Toolstack) -> None:
        self._toolstack = toolstack
        self._waits = processes.Waits()
        self.captures = Captures(toolstack)
        self.ready = anyio.Event()
        self.failure = ""

    def table(self) -> dict[str, Any]:
        """Name -> verb."""
        return {
            name: getattr(self, f"verb_{name}")
            for name in (
                *("create", "xl", "lab", "ps", "ready", "ledger", "fault", "stop"),
                *("exec", "capture", "hotplug", "started"),
            )
        }

    async def verb_create(self, request: dict[str, Any], reply: Reply) -> int:
        """Make a domain of a lab; returns as ``xl create`` does."""
        for guest in self._toolstack.guests.values():
            starting.check(guest)  # of those before: nobody has waited for them
        made = create.request_from(request, self._toolstack)
        others_wait = made.profile == "driver" or made.restart == "always"
        guest = await create.create(self._toolstack, made, wait=others_wait)
        await reply.err(*guest.config.warnings)
        reply.data = {"domid": guest.domid, "name": guest.name}
        return 0

    async def verb_started(self, request: dict[str, Any], reply: Reply) -> int:
        """Answers once every domain made so far runs; fails when one could not be started."""
        for guest in list(self._toolstack.guests.values()):
            await starting.settle(self._toolstack, guest)
        return 0

    async def verb_xl(self, request: dict[str, Any], reply: Reply) -> int:
        """An xl command line."""
        argv = request.get("argv")
        if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
            raise ToolstackError("xl: argv must be a list of texts", code=2)
        cwd = str(request.get("cwd") or "/")
        return await xl.run(self._toolstack, reply, argv, cwd, bool(request.get("json")))

    async def verb_lab(self, request: dict[str, Any], reply: Reply) -> int:
        """What the lab declares for domains that are made by hand."""
        images, files, path = (request.get(key) or () for key in ("images", "files", "path"))
        rows = files if isinstance(files, list | tuple) else (None,)
        if (
            not isinstance(images or {}, dict)
            or not isinstance(path, list | tuple)
            or not all(isinstance(row, list) and len(row) == 2 for row in rows)
        ):
            raise ToolstackError(
                "lab: images must be a table, files a list of [path, mode], path a list", code=2
            )
        self._toolstack.defaults = Defaults(
            images={str(k): str(v) for k, v in dict(images).items()},
            files=tuple((str(row[0]), str(row[1])) for row in rows),
            path=tuple(str(entry) for entry in path),
            shared=tuple(str(entry) for entry in request.get("shared") or ()),
            walls=str(request.get("walls") or "all"),
        )
        return 0

    async def verb_ps(self, request: dict[str, Any], reply: Reply) -> int:
        """Every domain, process and device, and who waits for whom."""
        reply.data = await processes.survey(self._toolstack, self._waits)
        return 0

    async def verb_ready(self, request: dict[str, Any], reply: Reply) -> int:
        """Answers once dom0 stands."""
        await self.ready.wait()
        if self.failure:
            raise ToolstackError(self.failure)
        reply.data = {"version": __version__}
        return 0

    async def verb_ledger(self, request: dict[str, Any], reply: Reply) -> int:
        """The hypervisor's decisions after a sequence number."""
        after, limit = request.get("after", 0), request.get("max", 100)
        if not isinstance(after, int) or not isinstance(limit, int):
            raise ToolstackError("ledger: after and max must be numbers", code=2)
        reply.data = self._toolstack.hypervisor.ledger(after, max(0, min(limit, 1000)))
        return 0

    async def verb_capture(self, request: dict[str, Any], reply: Reply) -> int:
        """Start, read or stop a capture of a vif."""
        reply.data = await self.captures.serve(request)
        return 0

    async def verb_fault(self, request: dict[str, Any], reply: Reply) -> int:
        """Kill, stall or resume a process of a domain."""
        action = request.get("action")
        if action not in ACTIONS:
            raise ToolstackError(f"fault: action must be one of {', '.join(ACTIONS)}", code=2)
        name = str(request.get("domain", ""))
        process = str(request.get("process") or "")
        if not process and self._is_dom0_process(name):
            domid: int | None = 0  # `fault kill xenstored`: not by asking the store who that is
            process = name
        elif self._toolstack.lost:
            domid = self._toolstack.known(name)
        else:
            async with self._toolstack.store() as store:
                domid = await self._toolstack.find(store, name)
        if domid is None:
            raise ToolstackError(f"{name} is an invalid domain identifier (rc=-6)")
        if self._toolstack.hypervisor.info(domid) is None:
            raise ToolstackError(f"Error: Domain '{name}' does not exist.")
        pid = self._toolstack.hypervisor.fault(domid, process, action)
        reply.data = {"domid": domid, "pid": pid}
        return 0

    def _is_dom0_process(self, name: str) -> bool:
        """Whether *name* is a process of dom0, and of no domain."""
        if any(guest.name == name for guest in self._toolstack.guests.values()):
            return False
        rows = self._toolstack.hypervisor.processes()
        return any(row["domid"] == 0 and row["process"] == name for row in rows)

    async def verb_exec(self, request: dict[str, Any], reply: Reply) -> int:
        """Start a program of the machine in a domain."""
        reply.data = await execute.execute(self._toolstack, request)
        return 0

    async def verb_hotplug(self, request: dict[str, Any], reply: Reply) -> int:
        """The usual hotplug script of a device, run by a real xl."""
        await script.run(self._toolstack, request)
        return 0

    async def verb_stop(self, request: dict[str, Any], reply: Reply) -> int:
        """End every domain but dom0: guests first, then those that serve them."""
        timeout = request.get("timeout", 10.0)
        if not isinstance(timeout, int | float):
            raise ToolstackError("stop: timeout must be a number of seconds", code=2)
        toolstack = self._toolstack
        toolstack.stopping = True
        if toolstack.lost:
            reply.data = await self._end_all()
            return 0
        stopped: list[str] = []
        destroyed: dict[str, str] = {}
        guests = list(toolstack.guests.values())
        for some in ([g for g in guests if not g.driver], [g for g in guests if g.driver]):
            await self._stop(some, float(timeout), stopped, destroyed)
        for info in toolstack.hypervisor.domains():
            if info.domid and not info.dying:
                destroyed[f"domain {info.domid}"] = ""
                await destroy(toolstack, info.domid)
        reply.data = {"stopped": stopped, "destroyed": list(destroyed), "reasons": destroyed}
        return 0

    async def _end_all(self) -> dict[str, Any]:
        """Without a store nobody can be asked, and there is nothing to be cleared away in it."""
        toolstack = self._toolstack
        names = {guest.domid: guest.name for guest in toolstack.guests.values()}
        domids = [info.domid for info in toolstack.hypervisor.domains() if info.domid]
        for domid in domids:
            await end(toolstack, domid)
        destroyed = [names.get(domid, f"domain {domid}") for domid in domids]
        return {"stopped": [], "destroyed": destroyed, "why": "the store has ended"}

    async def _stop(
        self, guests: Sequence[Guest], timeout: float, stopped: list[str], destroyed: dict[str, str]
    ) -> None:
        """Ask *guests* to power off; destroy those that have not gone within *timeout* s, and at
        once those that nobody waits for: what has stopped or is paused does not hear."""
        toolstack = self._toolstack
        asked: set[int] = set()
        reasons: dict[int, str] = {}
        async with anyio.create_task_group() as tasks:
            for guest in guests:
                info = toolstack.hypervisor.info(guest.domid)
                if info is not None and not info.dying and (info.shutdown or info.paused):
                    reasons[guest.domid] = "had stopped" if info.shutdown else "was paused"
                    continue
                asked.add(guest.domid)
                if info is not None and not info.dying:
                    tasks.start_soon(lifecycle.ask, toolstack, guest.domid, "poweroff", timeout)
        late = await lifecycle.wait_for_end(toolstack, asked, timeout)
        for guest in guests:
            if guest.domid in asked - late:
                stopped.append(guest.name)
                continue
            destroyed[guest.name] = reasons.get(guest.domid, "")
            if toolstack.hypervisor.info(guest.domid) is not None:
                await destroy(toolstack, guest.domid)


async def _stand_up_dom0(toolstack: Toolstack) -> None:
    """Wait for the store, and write what xen-init-dom0 writes.

    Raises: TimeoutError; ToolstackError when the store ends before it served.
    """
    dom0 = domain_path(0)
    with anyio.fail_after(READY_TIMEOUT):
        while True:
            try:
                async with toolstack.store() as store:
                    await store.write(f"{dom0}/domid", "0")
                    await store.write(f"{dom0}/name", "Domain-0")
                    await store.write("/local/pool/0/name", "Pool-0")
                    attached.keep_dom0(toolstack)
                    await store.wait_for(
                        f"{dom0}/control/feature-poweroff", lambda v: v == "1", READY_TIMEOUT
                    )
                return
            except OSError:
                await anyio.sleep(0.005)  # the socket is not there yet


async def serve(dom: Domain) -> None:
    """Run the daemon until it is cancelled."""
    toolstack = Toolstack(dom)
    verbs = Verbs(toolstack)
    endpoint = str(dom.args.get("control") or f"ipc://{toolstack.run_dir}/control")
    server = ControlServer(endpoint, verbs.table(), dom.log)
    async with anyio.create_task_group() as tasks:
        toolstack.tasks = tasks
        tasks.start_soon(server.serve, tasks)
        followers = dom.args.get("followers") or ()
        for spec in dom.args.get("supervise") or ():
            tasks.start_soon(supervise, toolstack, spec, followers)
        for spec in dom.args.get("mourn") or ():
            tasks.start_soon(mourn, toolstack, spec)
        try:
            await _stand_up_dom0(toolstack)
            await follow(toolstack, followers)
        except ToolstackError as failure:
            verbs.failure = str(failure)
        else:
            tasks.start_soon(lifecycle.watch_domains, toolstack, tasks)
            tasks.start_soon(verbs.captures.reap)
        verbs.ready.set()


def main(dom: Domain) -> None:
    """The program of the process."""
    try:
        anyio.run(partial(serve, dom), backend="asyncio")
    except HypercallError as failure:
        dom.log(f"toolstack: {failure}")
        raise
