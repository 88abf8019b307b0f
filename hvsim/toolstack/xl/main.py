"""From an argument vector to a command: the front of xl (tools/xl/xl.c)."""

from collections.abc import Sequence
from typing import Final

from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.config import ConfigError
from hvsim.toolstack.host import libxl_log
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.reasons import reason
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.xl import (
    absent,
    block,
    configs,
    console,
    create,
    dmesg,
    identify,
    info,
    listing,
    memory,
    network,
    pausing,
    pools,
    power,
    requests,
    summaries,
    unbuilt,
    vcpus,
)
from hvsim.toolstack.xl.command import Call, Command, Help, UsageError, usage
from hvsim.toolstack.xl.table import VERBS, find
from hvsim.xs.requests import StoreError

_MODULES: Final = (
    absent, block, configs, console, create, dmesg, identify, info, listing, memory, network,
    pausing, pools, power, requests, summaries, unbuilt, vcpus,
)  # fmt: skip
COMMANDS: Final = {command.name: command for module in _MODULES for command in module.COMMANDS}
"""Every verb of xl, by name."""
GLOBAL_FLAGS: Final = "vfNtT"
_NARROW: Final = 20
"""Letters of a verb's name beside its summary."""


def help_text() -> str:
    """What ``xl help`` prints: every verb that xl has."""
    lines = ["Usage xl [-vfNtT] <subcommand> [args]", "", "xl full list of subcommands:", ""]
    for verb in VERBS.values():
        if len(verb.name) < _NARROW:
            lines.append(f" {verb.name:<19} {verb.summary}")
        else:
            lines += [f" {verb.name:<19} ", f" {'':<{_NARROW}}{verb.summary}"]
    return "\n".join(lines)


async def run(toolstack: Toolstack, reply: Reply, argv: Sequence[str], cwd: str, json: bool) -> int:
    """Run one xl command line; returns xl's exit code.  Never raises for a user's mistake."""
    words = list(argv)
    flags = ""
    while words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        flags += words.pop(0)[1:]
    wrong = [letter for letter in flags if letter not in GLOBAL_FLAGS]
    if wrong:
        await reply.err(f"xl: invalid option -- '{wrong[0]}'", "unknown global option")
        return 1
    reply.stamped = "T" in flags
    if not words or words[0] in ("-h", "--help"):
        await reply.text(help_text())
        return 0 if words else 1
    if words[0] == "help":
        return await _help(reply, words[1:])
    verb = find(words[0])
    if verb is None:
        await reply.err("command not implemented")
        return 1
    dryrun = "N" in flags
    if dryrun and "N" not in verb.flags:
        await reply.err("command does not implement -N (dryrun) option")
        return 1
    command = COMMANDS[verb.name]
    libxl_log.begin(flags.count("v"), reply.err)
    call = Call(toolstack, reply, words[1:], cwd, json, "f" in flags, dryrun)
    return await _guarded(command, call)


async def _help(reply: Reply, words: Sequence[str]) -> int:
    if not words:
        await reply.text(help_text())
        return 0
    verb = find(words[0])
    if verb is None:
        await reply.out(f'command "{words[0]}" not implemented')
    else:
        await reply.text(COMMANDS[verb.name].help())
    return 0


async def _guarded(command: Command, call: Call) -> int:
    """Run a command; whatever goes wrong becomes text and an exit code."""
    try:
        return await command.run(call)
    except Help as wanted:
        await call.reply.text(command.help(example=wanted.long))
        return 0
    except UsageError as wrong:
        lines = list(wrong.lines)
        if wrong.usage:
            lines += ["", *usage(command.name, command.options).split("\n")[:-1]]
        await call.reply.err(*lines)
        return wrong.code
    except (ToolstackError, ConfigError) as failure:
        await call.reply.err(*failure.lines)
        return failure.code
    except (StoreError, HypercallError, OSError) as failure:
        await call.reply.err(libxl(f"xl {command.name}: {reason(failure)}"))
        return 1
