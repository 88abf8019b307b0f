"""xl dmesg: what the hypervisor has to say."""

from hvsim.toolstack.xl.command import Call, Command


async def run(call: Call) -> int:
    """xl dmesg [-c]."""
    words = COMMAND.parse(call)
    text = call.toolstack.hypervisor.console(words.any("c", "clear"))
    if call.json or "json" in words:
        return await call.data(text.removesuffix("\n").split("\n") if text else [])
    await call.reply.text(text)
    return 0


COMMAND = Command(
    "dmesg",
    run,
    "c",
    ("clear",),
    options="  -c                        Clear dmesg buffer as well as printing it",
    example="xl dmesg",
)
COMMANDS = (COMMAND,)
