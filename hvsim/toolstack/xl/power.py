"""xl destroy, shutdown, reboot: three ways for a domain to end."""

from typing import Final

import anyio

from hvsim.abi.sched import SHUTDOWN_crash
from hvsim.toolstack.domain.destroy import destroy as destroy_domain
from hvsim.toolstack.domain.lifecycle import ask
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.errors import ERROR_DOMAIN_NOTFOUND, ToolstackError, libxl
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.waiting import Ending, Several, waiting
from hvsim.toolstack.xl.command import Call, Command, find_domain

ACK_TIMEOUT: Final = 60.0
"""Seconds that a guest has to acknowledge control/shutdown, as in libxl."""


async def destroy(call: Call) -> int:
    """xl destroy [-f] domain."""
    words = DESTROY.parse(call)
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words.rest[0])
    if domid == 0:
        if not ("f" in words or call.force):
            raise ToolstackError(
                "Not destroying domain 0; use -f to force.",
                "This can only be done when using a disaggregated hardware domain and toolstack.",
                "",
            )
        raise ToolstackError(
            libxl(
                "libxl_domain.c:1183: Domain 0 holds this lab together: use `hvsim down` to end it"
            )
        )
    operation = libxl_log.operation(
        "libxl_domain.c:1046:libxl_domain_destroy",
        "libxl_domain.c:1055:libxl_domain_destroy",
        domid,
    )
    try:
        async with operation:
            await destroy_domain(call.toolstack, domid)
    except ToolstackError as failure:
        raise ToolstackError(
            *failure.lines, f"destroy failed (rc={ERROR_DOMAIN_NOTFOUND})"
        ) from None
    return 0


async def shutdown(call: Call) -> int:
    """xl shutdown [-wF] (-a | domain).  -F is for HVM guests, of which there is none."""
    return await _stop(call, SHUTDOWN, "poweroff", "Shutting down domain {0}")


async def reboot(call: Call) -> int:
    """xl reboot [-wF] (-a | domain)."""
    return await _stop(call, REBOOT, "reboot", "Rebooting domain {0}")


async def _stop(call: Call, verb: Command, command: str, says: str) -> int:
    words = verb.parse(call)
    if words.any("a", "all"):
        # As in xl a domain that is named besides means nothing.
        domids = [info.domid for info in call.toolstack.hypervisor.domains() if info.domid]
    elif not words.rest:
        raise ToolstackError("You must specify -a or a domain id.")
    else:
        async with call.toolstack.store() as store:
            domids = [await find_domain(call, store, words.rest[0])]
    for domid in domids:
        await call.reply.err(says.format(domid))
        await _ask(call, domid, command, verb.name)
    if words.any("w", "wait"):
        await _wait(call, domids)
    return 0


async def _ask(call: Call, domid: int, command: str, verb: str) -> None:
    if domid == 0:
        async with call.toolstack.store() as store:
            await store.write(f"{domain_path(0)}/control/shutdown", "")
        return
    if call.toolstack.hypervisor.info(domid) is None:
        raise ToolstackError(f"{verb} failed (rc={ERROR_DOMAIN_NOTFOUND})")
    if not await ask(call.toolstack, domid, command, ACK_TIMEOUT):
        raise ToolstackError(
            libxl("libxl_domain.c:854:pvcontrol_cb: guest didn't acknowledge control request: -9"),
            f"{verb} failed (rc=-9)",
        )


async def _wait(call: Call, domids: list[int]) -> None:
    """Wait until all of them have shut down, for ever as xl does."""
    await call.reply.err(f"Waiting for {len(domids)} domains")
    left = list(domids)
    while True:
        event = call.toolstack.changed
        for domid in list(left):
            info = call.toolstack.hypervisor.info(domid)
            if info is None or info.dying:
                await call.reply.err(f"Domain {domid} has been destroyed")
            elif info.shutdown:
                reason = info.shutdown_reason
                await call.reply.err(
                    f"Domain {domid} has been shut down, reason code "
                    f"{SHUTDOWN_crash if reason is None else reason}"
                )
            else:
                continue
            left.remove(domid)
        if not left:
            return
        party = Several(tuple(Ending(domid) for domid in left))
        with waiting("the end of the domains", party), anyio.move_on_after(1.0):
            await event.wait()


DESTROY = Command(
    "destroy",
    destroy,
    "f",
    wanted=1,
    options="-f                      Permit destroying domain 0, which will only succeed\n"
    "                        when run from disaggregated toolstack domain with a\n"
    "                        hardware domain distinct from domain 0.",
    example="xl destroy guest",
)
SHUTDOWN = Command(
    "shutdown",
    shutdown,
    "awF",
    ("all", "wait"),
    options="-a, --all               Shutdown all guest domains.\n"
    "-h                      Print this help.\n"
    "-F                      Fallback to ACPI power event for HVM guests with\n"
    "                        no PV drivers.\n"
    "-w, --wait              Wait for guest(s) to shutdown.\n",
    example="xl shutdown -w guest",
)
REBOOT = Command(
    "reboot",
    reboot,
    "awF",
    ("all", "wait"),
    options="-a, --all               Shutdown all guest domains.\n"
    "-h                      Print this help.\n"
    "-F                      Fallback to ACPI reset event for HVM guests with\n"
    "                        no PV drivers.\n"
    "-w, --wait              Wait for guest(s) to reboot.\n",
    example="xl reboot guest",
)
COMMANDS = (DESTROY, SHUTDOWN, REBOOT)
