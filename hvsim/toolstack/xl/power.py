"""xl destroy, shutdown, reboot: three ways for a domain to end."""

from typing import Final

import anyio

from hvsim.abi.sched import SHUTDOWN_crash
from hvsim.toolstack.destroy import destroy as destroy_domain
from hvsim.toolstack.errors import ERROR_DOMAIN_NOTFOUND, ToolstackError, libxl
from hvsim.toolstack.layout import domain_path
from hvsim.toolstack.lifecycle import ask
from hvsim.toolstack.waiting import Ending, Several, waiting
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, options

ACK_TIMEOUT: Final = 60.0
"""Seconds that a guest has to acknowledge control/shutdown, as in libxl."""


async def destroy(call: Call) -> int:
    """xl destroy [-f] domain."""
    flags, args = options(call.args, "f")
    if not args:
        raise UsageError("'xl destroy' requires at least 1 argument.")
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, args[0])
    if domid == 0:
        if not ("f" in flags or call.force):
            raise ToolstackError(
                "Not destroying domain 0; use -f to force.",
                "This can only be done when using a disaggregated hardware domain and toolstack.",
            )
        raise ToolstackError(
            libxl(
                "libxl_domain.c:1183: Domain 0 holds this lab together: use `hvsim down` to end it"
            )
        )
    try:
        await destroy_domain(call.toolstack, domid)
    except ToolstackError as failure:
        raise ToolstackError(
            *failure.lines, f"destroy failed (rc={ERROR_DOMAIN_NOTFOUND})"
        ) from None
    return 0


async def shutdown(call: Call) -> int:
    """xl shutdown [-w] (-a | domain)."""
    return await _stop(call, "poweroff", "Shutting down domain {0}", "shutdown")


async def reboot(call: Call) -> int:
    """xl reboot [-w] (-a | domain)."""
    return await _stop(call, "reboot", "Rebooting domain {0}", "reboot")


async def _stop(call: Call, command: str, says: str, verb: str) -> int:
    flags, args = options(call.args, "awF", ("all", "wait"))
    everybody = bool(flags & {"a", "all"})
    if everybody == bool(args):
        wrong = "does not take a domain with -a" if everybody else "requires at least 1 argument"
        raise UsageError(f"'xl {verb}' {wrong}.")
    if everybody:
        domids = [info.domid for info in call.toolstack.hypervisor.domains() if info.domid]
    else:
        async with call.toolstack.store() as store:
            domids = [await find_domain(call, store, args[0])]
    for domid in domids:
        await call.reply.err(says.format(domid))
        await _ask(call, domid, command, verb)
    if flags & {"w", "wait"}:
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
            libxl(
                f"libxl_domain.c:812:pvcontrol_cb: Domain {domid}:guest didn't acknowledge "
                "control request: -9"
            ),
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
    "Terminate a domain immediately",
    "<Domain>",
    destroy,
    "-f                      Permit destroying domain 0, which will only succeed",
    example="xl destroy guest",
)
SHUTDOWN = Command(
    "shutdown",
    "Issue a shutdown signal to a domain",
    "[options] <-a|Domain>",
    shutdown,
    "-a, --all               Shutdown all guest domains.\n"
    "-h                      Print this help.\n"
    "-w, --wait              Wait for guest(s) to shutdown.",
    example="xl shutdown -w guest",
)
REBOOT = Command(
    "reboot",
    "Issue a reboot signal to a domain",
    "[options] <-a|Domain>",
    reboot,
    "-a, --all               Reboot all guest domains.\n"
    "-w, --wait              Wait for guest(s) to reboot.",
    example="xl reboot guest",
)
