"""xl create: a domain from a config file."""

import os
from dataclasses import replace
from pathlib import Path

from hvsim import textfile
from hvsim.toolstack.context import CreateRequest
from hvsim.toolstack.create import config_of, create_parsed
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.xl.command import Call, Command, options


async def run(call: Call) -> int:
    """xl create [-p] [-q] [-f] FILE [key=value...]."""
    words = list(call.args)
    name: str | None = None
    for position, word in enumerate(words):
        if word == "-f" and position + 1 < len(words):
            name = words.pop(position + 1)
            words.pop(position)
            break
        if word.startswith("--defconfig="):
            name = words.pop(position).partition("=")[2]
            break
    flags, args = options(words, "cdeFnpqVA", ("dryrun", "quiet"))
    if name is None and args and "=" not in args[0]:
        name = args.pop(0)
    if name is None:
        raise ToolstackError("Config file not specified and none in save file", code=6)
    path = Path(call.cwd) / name
    try:
        # Comments of old configs are in other encodings; a value in one is no file's name here.
        text = textfile.read(path, errors="backslashreplace")
    except (FileNotFoundError, textfile.Unreadable) as failure:
        said = str(failure).removeprefix("cannot be read: ")
        reason = os.strerror(failure.errno or 0) if isinstance(failure, OSError) else said
        raise ToolstackError(f"Failed to read config file: {name}: {reason}", code=3) from None
    if not flags & {"q", "quiet"}:
        await call.reply.out(f"Parsing config from {name}")
    defaults = call.toolstack.defaults
    request = CreateRequest(
        config=text,
        config_path=name,
        directory=str(path.parent),
        overrides=tuple(args),
        images=defaults.images,
        path=(*defaults.path, str(path.parent)),
        walls=defaults.walls,
        paused="p" in flags,
    )
    config = config_of(request)
    await call.reply.err(*config.warnings)
    if config.driver_domain:
        request = driver(request, call)
    if flags & {"n", "dryrun"}:
        return 0
    guest = await create_parsed(call.toolstack, request, config)
    call.reply.data = {"domid": guest.domid, "name": guest.name}
    return 0


def driver(request: CreateRequest, call: Call) -> CreateRequest:
    """A domain that serves devices may open what the lab declared for such."""
    return replace(request, profile="driver", files=call.toolstack.defaults.files)


COMMAND = Command(
    "create",
    "Create a domain from config file <filename>",
    "<ConfigFile> [options] [vars]",
    run,
    "-f FILE, --defconfig=FILE\n"
    "                     Use the given configuration file.\n"
    "-n, --dryrun            Read the configuration and stop.\n"
    "-p                      Leave the domain paused after it is created.\n"
    "-q, --quiet             Quiet.",
    example="xl create guest.cfg memory=64",
)
