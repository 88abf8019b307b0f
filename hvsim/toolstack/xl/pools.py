"""xl cpupool-list and others, sched-credit2 and others: one pool of CPUs, and Linux as scheduler.

A domain's share of the CPUs is decided by the machine's own scheduler; the weight and cap that are
shown are credit2's defaults, which is what it amounts to, and others cannot be set.
"""

from typing import Final

from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.listing import NO_NAME, POOL

SCHEDULER: Final = "credit2"
WEIGHT: Final = 256
WEIGHT_MAX: Final = 65535


async def cpupool_list(call: Call) -> int:
    """xl cpupool-list [-c] [pool]."""
    words = LIST.parse(call)
    if words.rest and words.rest[0] not in (POOL, "0"):
        raise ToolstackError(f"Pool '{words.rest[0]}' does not exist")
    hypervisor = call.toolstack.hypervisor
    cpus = int(hypervisor.machine()["nr_cpus"])
    if words.any("c", "cpus"):
        lines = [f"{'Name':<19}CPU list", f"{POOL:<19}{','.join(map(str, range(cpus)))}"]
    else:
        count = len(hypervisor.domains())
        lines = [
            f"{'Name':<19}CPUs   Sched     Active   Domain count",
            f"{POOL:<16} {cpus:5d} {SCHEDULER:>9}       y       {count:4d}",
        ]
    await call.reply.out(*lines)
    return 0


async def cpupool_destroy(call: Call) -> int:
    """xl cpupool-destroy pool."""
    name = DESTROY.parse(call).rest[0]
    if name not in (POOL, "0"):
        raise ToolstackError(f"unknown cpupool '{name}'")
    raise ToolstackError(f"Can't destroy cpupool '{name}'")


async def sched_credit2(call: Call) -> int:
    """xl sched-credit2 [-d domain [-w weight] [-c cap]] [-s]."""
    words = CREDIT2.parse(call)
    domain = words.value("d", "domain")
    weight, cap = words.value("w", "weight"), words.value("c", "cap")
    if domain is None:
        if weight is not None or cap is not None:
            raise ToolstackError("Must specify a domain.")
        if words.any("s", "schedparam"):
            await call.reply.out(f"Cpupool {POOL}: ratelimit=1000us")
            return 0
        infos = call.toolstack.hypervisor.domains()
        async with call.toolstack.store() as store:
            names = await call.toolstack.names(store, infos)
        lines = [f"Cpupool {POOL}: ratelimit=1000us", _HEADER]
        lines += [_row(name, info.domid) for name, info in zip(names, infos, strict=True)]
        await call.reply.out(*lines)
        return 0
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, domain)
        infos = [i for i in call.toolstack.hypervisor.domains() if i.domid == domid]
        names = await call.toolstack.names(store, infos)
    if weight is None and cap is None:
        await call.reply.out(_HEADER, *(_row(name, domid) for name in names))
        return 0
    _check(domid, weight, cap)
    return 0


def _check(domid: int, weight: str | None, cap: str | None) -> None:
    """What credit2 says of values; and ours of those that would change something.

    Raises: ToolstackError.
    """
    where = "libxl_sched.c:445:sched_credit2_domain_set"
    failed = "libxl_domain_sched_params_set failed."
    number = int(weight) if weight is not None and weight.isdecimal() else 0
    if weight is not None and not 1 <= number <= WEIGHT_MAX:
        raise ToolstackError(
            libxl(
                f"{where}: Domain {domid}:Cpu weight out of range, valid values are within range "
                f"from 1 to {WEIGHT_MAX}"
            ),
            failed,
        )
    if weight not in (None, str(WEIGHT)) or cap not in (None, "0"):
        raise ToolstackError(
            libxl(
                "libxl_sched.c:467:sched_credit2_domain_set: "
                f"Domain {domid}:Setting domain sched credit2: Function not implemented"
            ),
            failed,
            "(the machine's own scheduler shares its CPUs out among the domains)",
        )


_HEADER: Final = "Name                                ID Weight  Cap"


def _row(name: str | None, domid: int) -> str:
    return f"{name or NO_NAME:<33} {domid:4d} {WEIGHT:6d} {0:4d}"


async def sched_other(call: Call) -> int:
    """xl sched-credit, sched-rtds: schedulers that no pool has."""
    words = CREDIT.parse(call)
    domain = words.value("d", "domain")
    if domain is not None:
        async with call.toolstack.store() as store:
            await find_domain(call, store, domain)
        await call.reply.err(f"libxl_domain_sched_params_get returned {SCHEDULER} not credit.")
        await call.reply.out(_HEADER)
        return 1
    return 0


async def sched_rtds(call: Call) -> int:
    """xl sched-rtds."""
    words = RTDS.parse(call)
    domain = words.value("d", "domain")
    if domain is not None:
        async with call.toolstack.store() as store:
            await find_domain(call, store, domain)
        await call.reply.err(f"libxl_domain_sched_params_get returned {SCHEDULER} not rtds.")
        return 1
    return 0


LIST = Command(
    "cpupool-list",
    cpupool_list,
    "c",
    ("cpus",),
    options="-c, --cpus                     Output list of CPUs used by a pool",
)
DESTROY = Command("cpupool-destroy", cpupool_destroy, wanted=1)
CREDIT2 = Command(
    "sched-credit2",
    sched_credit2,
    "d:w:c:p:r:s",
    ("domain=", "weight=", "cap=", "schedparam", "ratelimit_us=", "cpupool="),
    options="-d DOMAIN, --domain=DOMAIN     Domain to modify\n"
    "-w WEIGHT, --weight=WEIGHT     Weight (int)\n"
    "-c CAP,    --cap=CAP           Cap (int)\n"
    "-s         --schedparam        Query / modify scheduler parameters\n"
    "-r RLIMIT, --ratelimit_us=RLIMIT Set the scheduling rate limit, in microseconds\n"
    "-p CPUPOOL, --cpupool=CPUPOOL  Restrict output to CPUPOOL",
    example="xl sched-credit2",
)
CREDIT = Command(
    "sched-credit",
    sched_other,
    "d:w:c:p:t:r:m:s",
    (
        *("domain=", "weight=", "cap=", "schedparam", "tslice_ms=", "ratelimit_us="),
        *("migration_delay_us=", "cpupool="),
    ),
    options="-d DOMAIN, --domain=DOMAIN        Domain to modify\n"
    "-w WEIGHT, --weight=WEIGHT        Weight (int)\n"
    "-c CAP, --cap=CAP                 Cap (int)\n"
    "-s         --schedparam           Query / modify scheduler parameters\n"
    "-t TSLICE, --tslice_ms=TSLICE     Set the timeslice, in milliseconds\n"
    "-r RLIMIT, --ratelimit_us=RLIMIT  Set the scheduling rate limit, in microseconds\n"
    "-m DLY, --migration_delay_us=DLY  Set the migration delay, in microseconds\n"
    "-p CPUPOOL, --cpupool=CPUPOOL     Restrict output to CPUPOOL",
)
RTDS = Command(
    "sched-rtds",
    sched_rtds,
    "d:p:b:v:e:c",
    ("domain=", "period=", "budget=", "vcpuid=", "extratime=", "cpupool="),
    options="-d DOMAIN, --domain=DOMAIN     Domain to modify\n"
    "-v VCPUID/all, --vcpuid=VCPUID/all    VCPU to modify or output;\n"
    "               Using '-v all' to modify/output all vcpus\n"
    "-p PERIOD, --period=PERIOD     Period (us)\n"
    "-b BUDGET, --budget=BUDGET     Budget (us)\n"
    "-e Extratime, --extratime=Extratime Extratime (1=yes, 0=no)\n",
)
COMMANDS = (LIST, DESTROY, CREDIT2, CREDIT, RTDS)
