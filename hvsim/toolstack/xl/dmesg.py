"""xl dmesg: what the hypervisor has to say."""

from hvsim.toolstack.xl.command import Call, Command, options


async def run(call: Call) -> int:
    """xl dmesg [-c]."""
    flags, _ = options(call.args, "c", ("clear",))
    text = call.toolstack.hypervisor.console(bool(flags & {"c", "clear"}))
    if call.json or "json" in flags:
        return await call.data(text.removesuffix("\n").split("\n") if text else [])
    if text:
        await call.reply.out(*text.removesuffix("\n").split("\n"))
    return 0


COMMAND = Command(
    "dmesg",
    "Read and/or clear dmesg buffer",
    "[-c]",
    run,
    "-c                      Clear dmesg buffer as well as printing it",
    example="xl dmesg",
)
