"""From an argument vector to a command: the front of xl."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hvsim.domain.hypercall import HypercallError
from hvsim.domain.xenbus.requests import StoreError
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ToolstackError, libxl, reason
from hvsim.toolstack.reply import Reply
from hvsim.toolstack.xl import (
    block,
    console,
    create,
    dmesg,
    identify,
    info,
    listing,
    network,
    pausing,
    power,
    vcpus,
)
from hvsim.toolstack.xl.command import Call, Command, UsageError

_ALL: Final = (
    create.COMMAND,
    listing.COMMAND,
    power.DESTROY,
    power.SHUTDOWN,
    power.REBOOT,
    pausing.PAUSE,
    pausing.UNPAUSE,
    console.COMMAND,
    dmesg.COMMAND,
    block.ATTACH,
    block.LIST,
    block.DETACH,
    network.ATTACH,
    network.LIST,
    network.DETACH,
    identify.DOMID,
    identify.DOMNAME,
    info.COMMAND,
    vcpus.COMMAND,
)
COMMANDS: Final = {command.name: command for command in _ALL}
"""The verbs that are built, by name."""

READING: Final = frozenset(
    {"list", "domid", "domname", "dmesg", "console", "block-list", "info", "vcpu-list"}
)
"""Verbs that change nothing, so that there is nothing for ``-f`` to force."""

GLOBAL_FLAGS: Final = "vfNtT"
HELP_WORDS: Final = ("-h", "--help")


def help_text() -> str:
    """What ``xl help`` prints."""
    lines = ["Usage xl [-vfNtT] <subcommand> [args]", "", "xl full list of subcommands:", ""]
    lines += [f" {command.name:<19} {command.summary}" for command in COMMANDS.values()]
    return "\n".join(lines)


async def run(toolstack: Toolstack, reply: Reply, argv: Sequence[str], cwd: str, json: bool) -> int:
    """Run one xl command line; returns xl's exit code.  Never raises for a user's mistake."""
    words = list(argv)
    force = False
    while words and words[0].startswith("-") and words[0] not in HELP_WORDS:
        flag = words.pop(0)
        if any(letter not in GLOBAL_FLAGS for letter in flag[1:]):
            await reply.err("unknown global option")
            return 2
        force = force or "f" in flag
    if not words or words[0] in HELP_WORDS or words == ["help"]:
        await reply.out(*help_text().split("\n"))
        return 0 if words else 1
    if words[0] == "help":
        words = [words[1], "--help"]
    command = COMMANDS.get(words[0])
    if command is None:
        await reply.err("command not implemented")
        return 1
    if any(word in HELP_WORDS for word in words[1:]):
        await reply.out(*_help(command).split("\n"))
        return 0
    call = Call(toolstack, reply, words[1:], cwd, json, force)
    return await _guarded(command, call)


def _help(command: Command) -> str:
    if command.name in ("create", "block-attach", "network-attach"):
        globals_ = "[-vtTfN]"
    else:
        globals_ = "[-vtT]" if command.name in READING else "[-vtTf]"
    return command.help(globals_).rstrip("\n")


async def _guarded(command: Command, call: Call) -> int:
    """Run a command; whatever goes wrong becomes text and an exit code."""
    try:
        return await command.run(call)
    except UsageError as wrong:
        usage = _help(replace(command, example=""))
        await call.reply.err(*wrong.lines, "", *usage.split("\n"), "")
        return 2
    except (ToolstackError, ConfigError) as failure:
        await call.reply.err(*failure.lines)
        return failure.code
    except (StoreError, HypercallError, OSError) as failure:
        await call.reply.err(libxl(f"xl {command.name}: {reason(failure)}"))
        return 1
