"""xl sysrq, trigger, button-press, debug-keys, set-parameters: a word to a guest, or to Xen."""

from typing import Final

from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, usage

TRIGGERS: Final = ("nmi", "reset", "init", "power", "sleep", "s3resume")


async def sysrq(call: Call) -> int:
    """xl sysrq domain letter: control/sysrq, which the guest acknowledges."""
    domain, letter = SYSRQ.parse(call).rest[:2]
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, domain)
        if len(letter) != 1:
            shown = usage("sysrq").rstrip("\n").split("\n")
            raise UsageError("Invalid sysrq.", "", *shown, "", code=1)
        if call.toolstack.hypervisor.info(domid) is None:
            raise ToolstackError(f"Error: Domain '{domain}' does not exist.")
        await store.write(f"{domain_path(domid)}/control/sysrq", letter)
    return 0


async def trigger(call: Call) -> int:
    """xl trigger domain word [VCPU]."""
    words = TRIGGER.parse(call).rest
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words[0])
    if words[1] not in TRIGGERS:
        raise ToolstackError(f'Invalid trigger "{words[1]}"')
    await _not_sent(call, domid, words[1])
    return 0  # as xl


async def button_press(call: Call) -> int:
    """xl button-press domain power|sleep."""
    words = BUTTON.parse(call).rest
    await call.reply.err('WARNING: "button-press" is deprecated. Please use "trigger"')
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words[0])
    if words[1] not in ("power", "sleep"):
        raise ToolstackError(f"{words[1]} is an invalid button identifier", code=2)
    await _not_sent(call, domid, words[1])
    return 0


async def _not_sent(call: Call, domid: int, word: str) -> None:
    """No trigger means anything to a vCPU that is a process."""
    await call.reply.err(
        libxl(
            f"libxl_domain.c:2207:libxl_send_trigger: Domain {domid}:Send trigger '{word}' failed: "
            "Function not implemented"
        )
    )


async def debug_keys(call: Call) -> int:
    """xl debug-keys keys."""
    keys = KEYS.parse(call).rest[0]
    raise ToolstackError(
        libxl("libxl.c:659:libxl_send_debug_keys: sending debug keys: Function not implemented"),
        f"cannot send debug keys: {keys}",
    )


async def set_parameters(call: Call) -> int:
    """xl set-parameters text: this hypervisor has none."""
    words = " ".join(PARAMETERS.parse(call).rest)
    raise ToolstackError(
        libxl("libxl.c:706:libxl_set_parameters: setting parameters: No such file or directory"),
        f"cannot set parameters: {words}",
    )


SYSRQ = Command("sysrq", sysrq, wanted=2, example="xl sysrq guest h")
TRIGGER = Command("trigger", trigger, wanted=2)
BUTTON = Command(
    "button-press", button_press, wanted=2, options="<Button> may be 'power' or 'sleep'."
)
KEYS = Command("debug-keys", debug_keys, wanted=1)
PARAMETERS = Command("set-parameters", set_parameters, wanted=1)
COMMANDS = (SYSRQ, TRIGGER, BUTTON, KEYS, PARAMETERS)
