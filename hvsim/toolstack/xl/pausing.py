"""xl pause, unpause: hold a domain, and let it go on.  Pauses are counted."""

import os

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.errors import libxl
from hvsim.toolstack.host.waiting import Other, waiting
from hvsim.toolstack.xl.command import Call, Command, find_domain


async def pause(call: Call) -> int:
    """xl pause domain."""
    domid = await _domain(call, PAUSE)
    try:
        if domid == 0:
            raise HypercallError(errno.EINVAL, 0, 0)
        with waiting(f"domain {domid} to stand still", Other(domid)):
            await call.toolstack.hypervisor.pause(domid)
    except HypercallError as failure:
        # libxl names the domain in this text, but only where there is one.
        where = "" if domid == 0 else f"Domain {domid}:"
        await call.reply.err(
            libxl(
                f"libxl_domain.c:587:libxl_domain_pause: {where}Pausing domain: {reason(failure)}"
            )
        )
    return 0  # as xl: it failed, and says so, and exits with 0


async def unpause(call: Call) -> int:
    """xl unpause domain."""
    domid = await _domain(call, UNPAUSE)
    operation = libxl_log.operation(
        "libxl_domain.c:704:libxl_domain_unpause",
        "libxl_domain.c:712:libxl_domain_unpause",
        domid,
    )
    async with operation:
        try:
            call.toolstack.hypervisor.unpause(domid)
        except HypercallError as failure:
            await call.reply.err(
                libxl(
                    f"libxl_domain.c:688:domain_unpause_done: Domain {domid}:"
                    f"Unpausing domain: {reason(failure)}"
                )
            )
    return 0


async def _domain(call: Call, command: Command) -> int:
    words = command.parse(call)
    async with call.toolstack.store() as store:
        return await find_domain(call, store, words.rest[0])


def reason(failure: HypercallError) -> str:
    """What strerror says of the hypervisor's errno."""
    return os.strerror(failure.errno) if failure.errno else str(failure)


PAUSE = Command("pause", pause, wanted=1, example="xl pause guest")
UNPAUSE = Command("unpause", unpause, wanted=1, example="xl unpause guest")
COMMANDS = (PAUSE, UNPAUSE)
