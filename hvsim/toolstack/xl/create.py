"""xl create: a domain from a config file."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hvsim import textfile
from hvsim.toolstack.config import Host
from hvsim.toolstack.config.libxl_json import render
from hvsim.toolstack.domain import monitor
from hvsim.toolstack.domain.create import check, create_parsed, understood
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.xl.command import Call, Command, UsageError, Words
from hvsim.toolstack.xl.console import tty_of


async def run(call: Call) -> int:
    """xl create FILE [-FnqpcdeVA] [-f FILE] [key=value...]."""
    words = COMMAND.parse(call)
    name, overrides = config_file(words, words.rest)
    if name is None:
        raise ToolstackError("Config file not specified and none in save file", code=6)
    path, text = read_config(call, name)
    quiet = words.any("q", "quiet")
    if not quiet:
        await call.reply.out(f"Parsing config from {name}")
    request = request_of(call, name, path, text, overrides, paused="p" in words)
    config = understood(request, Host(draw=call.toolstack.dice.draw))
    await call.reply.err(*config.warnings)
    meant = render(config.libxl).split("\n")
    if call.dryrun or words.any("n", "dryrun"):
        await call.reply.out(*meant)
        return 0
    if "d" in words:
        await call.reply.err(*meant)
    check(config)
    if config.driver_domain:
        request = replace(
            request,
            profile="driver",
            files=call.toolstack.defaults.files,
            program=config.program or DRIVER_PROGRAM,
        )
    # A console is to be there before the first word is written to it.
    attach = "c" in words
    guest = await create_parsed(call.toolstack, request, config)
    guest.monitored = "e" not in words
    call.reply.data = {"domid": guest.domid, "name": guest.name}
    if words.any("V", "vncviewer", "A", "vncviewer-autopass"):
        await call.reply.err(
            libxl(
                "libxl_console.c:201:libxl_vncviewer_exec: "
                f"Domain {guest.domid}:Cannot get vnc-port"
            )
        )
    if attach:
        async with call.toolstack.store() as store:
            tty = await tty_of(store, guest.domid)
        call.reply.data |= {"tty": tty, "attach": bool(tty)}
    if "F" in words and not attach:
        await monitor.follow(call.toolstack, call.reply, guest)
    return 0


def config_file(words: Words, rest: Sequence[str]) -> tuple[str | None, list[str]]:
    """The config's name, and the settings beside it.

    Raises: UsageError for a word that is neither.
    """
    name = words.value("f", "defconfig")
    overrides = []
    for word in rest:
        if "=" in word:
            overrides.append(word)
        elif name is None:
            name = word
        else:
            raise UsageError(usage=True)
    return name, overrides


def read_config(call: Call, name: str, code: int = 3) -> tuple[Path, str]:
    """Where the config is, and its text.  Raises: ToolstackError in xl's words."""
    path = Path(call.cwd) / name
    try:
        # Comments of old configs are in other encodings; a value in one is no file's name here.
        return path, textfile.read(path, errors="backslashreplace")
    except (FileNotFoundError, textfile.Unreadable) as failure:
        said = str(failure).removeprefix("cannot be read: ")
        reason = os.strerror(failure.errno or 0) if isinstance(failure, OSError) else said
        text = f"Failed to read config file: {name}: {reason}"
        raise ToolstackError(text, code=code) from None


def request_of(
    call: Call, name: str, path: Path, text: str, overrides: Sequence[str], *, paused: bool
) -> CreateRequest:
    """What a domain of this config is made from, in this lab."""
    defaults = call.toolstack.defaults
    return CreateRequest(
        config=text,
        config_path=name,
        directory=str(path.parent),
        overrides=tuple(overrides),
        images=defaults.images,
        path=(*defaults.path, str(path.parent)),
        walls=defaults.walls,
        paused=paused,
    )


COMMAND = Command(
    "create",
    run,
    "Fnqf:pcdeVA",
    (
        *("dryrun", "quiet", "defconfig=", "vncviewer", "vncviewer-autopass"),
        "ignore-global-affinity-masks",
    ),
    options="-c                      Connect to the console after the domain is created.\n"
    "-d                      Enable debug messages.\n"
    "-e                      Do not wait in the background for the death of the domain.\n"
    "-F                      Run in foreground until death of the domain.\n"
    "-f FILE, --defconfig=FILE\n"
    "                     Use the given configuration file.\n"
    "-h                      Print this help.\n"
    "-n, --dryrun            Dry run - prints the resulting configuration\n"
    "                         (deprecated in favour of global -N option).\n"
    "-p                      Leave the domain paused after it is created.\n"
    "-q, --quiet             Quiet.\n"
    "-V, --vncviewer         Connect to the VNC display after the domain is created.\n"
    "-A, --vncviewer-autopass\n"
    "                        Pass VNC password to viewer via stdin.\n"
    "--ignore-global-affinity-masks Ignore global masks in xl.conf.",
    example="xl create guest.cfg memory=64",
)
COMMANDS = (COMMAND,)
