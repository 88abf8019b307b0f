"""xl pause, unpause: hold a domain, and let it go on.  Pauses are counted."""

from hvsim.abi import errno
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.errors import libxl
from hvsim.toolstack.waiting import Other, waiting
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, options


async def pause(call: Call) -> int:
    """xl pause domain."""
    domid = await _domain(call, "pause")
    try:
        if domid == 0:
            raise HypercallError(errno.EINVAL, 0, 0)
        with waiting(f"domain {domid} to stand still", Other(domid)):
            await call.toolstack.hypervisor.pause(domid)
    except HypercallError as failure:
        reason = errno_text(failure)
        await call.reply.err(
            libxl(f"libxl_domain.c:587:libxl_domain_pause: Pausing domain: {reason}")
        )
    return 0  # as xl: it failed, and says so, and exits with 0


async def unpause(call: Call) -> int:
    """xl unpause domain."""
    domid = await _domain(call, "unpause")
    try:
        call.toolstack.hypervisor.unpause(domid)
    except HypercallError as failure:
        reason = errno_text(failure)
        await call.reply.err(
            libxl(
                f"libxl_domain.c:761:libxl_domain_unpause: Domain {domid}:"
                f"Unpausing domain: {reason}"
            )
        )
    return 0


async def _domain(call: Call, verb: str) -> int:
    _, args = options(call.args)
    if not args:
        raise UsageError(f"'xl {verb}' requires at least 1 argument.")
    async with call.toolstack.store() as store:
        return await find_domain(call, store, args[0])


def errno_text(failure: HypercallError) -> str:
    """What strerror says of the hypervisor's errno."""
    texts = {
        errno.EINVAL: "Invalid argument",
        errno.ESRCH: "No such process",
        errno.EPERM: "Operation not permitted",
    }
    return texts.get(failure.errno or 0, str(failure))


PAUSE = Command("pause", "Pause execution of a domain", "<Domain>", pause, example="xl pause guest")
UNPAUSE = Command(
    "unpause", "Unpause a paused domain", "<Domain>", unpause, example="xl unpause guest"
)
