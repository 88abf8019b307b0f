"""The toolstack as a process of dom0: verbs over the control wire, and what happens by itself.

When it dies, dom0's init starts it again, and it takes over what there is (``takeover``).  Until
that is done a verb waits, under its name, but for those that only look.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio

from hvsim import __version__
from hvsim.domain import loop
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.daemon import clients, processes
from hvsim.toolstack.daemon.control import ControlServer
from hvsim.toolstack.devices import attached, by_hand, script
from hvsim.toolstack.devices.captures import Captures
from hvsim.toolstack.domain import create, lifecycle
from hvsim.toolstack.domain.destroy import destroy, end
from hvsim.toolstack.domain.takeover import take_over
from hvsim.toolstack.host import execute, starting
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.dom0 import mourn
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.host.request import completed
from hvsim.toolstack.host.store import StoreSilent
from hvsim.toolstack.host.trouble import Trouble
from hvsim.toolstack.host.waiting import STORE, Dom0Process, waiting, working
from hvsim.toolstack.xl import main as xl
from hvsim.wire.control import Ps, Xl
from hvsim.wire.lab_requests import (
    Asked,
    Capture,
    Create,
    Device,
    Exec,
    Hotplug,
    Ready,
    Started,
    Stop,
)
from hvsim.xs.requests import StoreError

KERNEL_TIMEOUT: Final = 20.0
"""Seconds that dom0's kernel has to say in the store what it can do."""


class Verbs:
    """The verbs of the control wire, one method each."""

    def __init__(self, toolstack: Toolstack) -> None:
        self._toolstack = toolstack
        self._waits = processes.Waits()
        self.captures = Captures(toolstack)
        self.ready = anyio.Event()
        self.failure = ""

    async def serve(self, request: Asked, reply: Reply) -> int:
        """What is asked; the exit code."""
        match request:
            case Ps():
                return await self._ps(reply)
            case Stop():
                return await self._stop(request, reply)
        await self.standing()
        match request:
            case Create():
                return await self._create(request, reply)
            case Started():
                return await self._started()
            case Xl(argv, cwd, json):
                return await xl.run(self._toolstack, reply, list(argv), cwd or "/", json)
            case Ready():
                return self._ready(reply)
            case Capture():
                reply.data = await self.captures.serve(request)
            case Exec():
                reply.data = await execute.execute(self._toolstack, request)
            case Hotplug():
                await script.run(self._toolstack, request)
            case Device():
                reply.data = await by_hand.serve(self._toolstack, request)
        return 0

    async def standing(self) -> None:
        """Wait until dom0 stands, and what a former toolstack left is known."""
        if not self.ready.is_set():
            with waiting("dom0 to stand", STORE):
                await self.ready.wait()

    async def _create(self, request: Create, reply: Reply) -> int:
        """Make a domain of a lab; returns as ``xl create`` does."""
        for guest in self._toolstack.guests.values():
            starting.check(guest)  # of those before: nobody has waited for them
        made = completed(request, self._toolstack.defaults)
        others_wait = made.profile == "driver" or made.restart == "always"
        guest = await create.create(self._toolstack, made, wait=others_wait)
        await reply.err(*guest.config.warnings)
        reply.data = {"domid": guest.domid, "name": guest.name}
        return 0

    async def _started(self) -> int:
        """Answers once every domain made so far runs; fails when one could not be started."""
        for guest in list(self._toolstack.guests.values()):
            await starting.settle(self._toolstack, guest)
        return 0

    async def _ps(self, reply: Reply) -> int:
        """Every domain, process and device, and who waits for whom."""
        if not self.ready.is_set():
            raise ToolstackError("the toolstack has not found yet what there is")
        reply.data = await processes.survey(self._toolstack, self._waits, reply)
        return 0

    def _ready(self, reply: Reply) -> int:
        """Whether dom0 stands as it should."""
        if self.failure:
            raise ToolstackError(self.failure)
        reply.data = {"version": __version__}
        return 0

    async def _stop(self, request: Stop, reply: Reply) -> int:
        """End every domain but dom0: guests first, then those that serve them."""
        toolstack = self._toolstack
        toolstack.stopping = True
        if toolstack.lost:
            reply.data = await self._end_all()
            return 0
        stopped: list[str] = []
        destroyed: dict[str, str] = {}
        guests = list(toolstack.guests.values())
        for some in ([g for g in guests if not g.driver], [g for g in guests if g.driver]):
            await self._stop_some(some, request.timeout, stopped, destroyed)
        for info in toolstack.hypervisor.domains():
            if info.domid and not info.dying:
                destroyed[f"domain {info.domid}"] = "is not of this toolstack"
                await destroy(toolstack, info.domid)
        reply.data = {"stopped": stopped, "destroyed": list(destroyed), "reasons": destroyed}
        return 0

    async def _end_all(self) -> dict[str, object]:
        """Without a store nobody can be asked, and there is nothing to be cleared away in it."""
        toolstack = self._toolstack
        names = {guest.domid: guest.name for guest in toolstack.guests.values()}
        domids = [info.domid for info in toolstack.hypervisor.domains() if info.domid]
        for domid in domids:
            await end(toolstack, domid)
        destroyed = [names.get(domid, f"domain {domid}") for domid in domids]
        why = "cannot be asked, as the store has ended"
        return {
            "stopped": [],
            "destroyed": destroyed,
            "reasons": dict.fromkeys(destroyed, why),
        }

    async def _stop_some(
        self, guests: Sequence[Guest], timeout: float, stopped: list[str], destroyed: dict[str, str]
    ) -> None:
        """Ask *guests* to power off; destroy those that have not gone within *timeout* s, and at
        once those that nobody waits for: what has stopped, is paused or stands still does not
        hear."""
        toolstack, census = self._toolstack, self._toolstack.census()
        asked: set[int] = set()
        reasons: dict[int, str] = {}
        async with anyio.create_task_group() as tasks:
            for guest in guests:
                info = toolstack.hypervisor.info(guest.domid)
                trouble = census.domain(guest.domid)
                if info is not None and not info.dying and (why := _deaf(info, trouble)):
                    reasons[guest.domid] = why
                    continue
                asked.add(guest.domid)
                if info is not None and not info.dying:
                    tasks.start_soon(self._ask, guest.domid, timeout)
        late = await lifecycle.wait_for_end(toolstack, asked, timeout)
        for guest in guests:
            if guest.domid in asked - late:
                stopped.append(guest.name)
                continue
            destroyed[guest.name] = reasons.get(guest.domid, "")
            if toolstack.hypervisor.info(guest.domid) is not None:
                await destroy(toolstack, guest.domid)

    async def _ask(self, domid: int, timeout: float) -> None:
        try:
            await lifecycle.ask(self._toolstack, domid, "poweroff", timeout)
        except (ToolstackError, StoreError, OSError) as failure:  # then it is destroyed
            self._toolstack.dom.log(f"asking domain {domid} to power off: {failure}")


def _deaf(info: DomainInfo, trouble: Trouble | None) -> str:
    """Why a domain does not hear a shutdown request; "" when it does."""
    if info.shutdown:
        return "had stopped"
    if info.paused:
        return "was paused"
    return "stands still (SIGSTOP)" if trouble is not None and trouble.what == "stalled" else ""


async def _stand_up_dom0(toolstack: Toolstack) -> None:
    """Wait for the store, write what xen-init-dom0 writes, and take over what is there.

    A store that stands still is waited for, however long: whoever asks for something meanwhile is
    told of it.  Raises: ToolstackError when the store ends for good; StoreError; TimeoutError when
    the kernel does not come.
    """
    dom0, said = domain_path(0), ""
    while True:
        try:
            async with toolstack.store() as store:
                await store.write(f"{dom0}/domid", "0")
                await store.write(f"{dom0}/name", "Domain-0")
                await store.write("/local/pool/0/name", "Pool-0")
                attached.keep_dom0(toolstack)
                await store.wait_for(
                    f"{dom0}/control/feature-poweroff",
                    lambda value: value == "1",
                    KERNEL_TIMEOUT,
                    "dom0's kernel to say what it can do",
                    Dom0Process("kernel"),
                )
                await take_over(toolstack, store)
            return
        except StoreSilent as silent:
            if str(silent) != said:
                said = str(silent)
                toolstack.dom.log(f"toolstack: {said}")
            await anyio.sleep(0.005)  # the socket is not there yet


async def serve(dom: Domain) -> None:
    """Run the daemon until it is cancelled."""
    toolstack = Toolstack(dom)
    verbs = Verbs(toolstack)
    async with anyio.create_task_group() as tasks:
        toolstack.tasks = tasks
        server = ControlServer(verbs.serve, dom.log, toolstack, tasks)
        tasks.start_soon(clients.serve, str(toolstack.run_dir / "control"), server)
        if mourned := dom.args.get("mourned"):
            tasks.start_soon(mourn, toolstack, mourned)
        try:
            with working("standing up dom0", toolstack.working):
                await _stand_up_dom0(toolstack)
        except (ToolstackError, StoreError, TimeoutError) as failure:
            verbs.failure = str(failure)
        else:
            tasks.start_soon(lifecycle.watch_domains, toolstack)
            tasks.start_soon(verbs.captures.reap)
        verbs.ready.set()


def main(dom: Domain) -> None:
    """The program of the process."""
    try:
        loop.run(dom.vcpu, partial(serve, dom))
    except HypercallError as failure:
        dom.log(f"toolstack: {failure}")
        raise
