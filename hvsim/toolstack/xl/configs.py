"""xl config-update: what a domain is made from when it is made again."""

from dataclasses import replace

from hvsim.toolstack.domain.create import config_of
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.xl.command import Call, Command, UsageError, find_domain, usage
from hvsim.toolstack.xl.create import config_file, read_config

WARNING = (
    "WARNING: xl now has better capability to manage domain configuration, avoid using this "
    "command when possible"
)
MISSING_CODE = 253
"""xl passes on libxl's -3."""


async def run(call: Call) -> int:
    """xl config-update domain file [key=value...]."""
    words = COMMAND.parse(call)
    if not words.rest:
        lines = usage(COMMAND.name, COMMAND.options).rstrip("\n").split("\n")
        raise UsageError("xl config-update requires a domain argument", *lines, "", code=1)
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, words.rest[0])
    await call.reply.err(WARNING)
    name, overrides = config_file(words, words.rest[1:])
    if name is None:
        raise ToolstackError("Config file not specified")
    path, text = read_config(call, name, MISSING_CODE)
    guest = call.toolstack.guest(domid)
    if guest is None:
        raise ToolstackError(f"Error: Domain '{words.rest[0]}' does not exist.")
    old = guest.request
    request = CreateRequest(
        config=text,
        config_path=name,
        directory=str(path.parent),
        overrides=tuple(overrides),
        images=old.images,
        path=old.path,
        profile=old.profile,
        files=old.files,
        restart=old.restart,
        program=old.program,
        args=old.args,
    )
    config = config_of(request)
    await call.reply.err(*config.warnings)
    if call.dryrun:
        return 0
    guest.request = request
    # What it has now stays as it is; what is done when it ends is the new config's word.
    guest.config = replace(guest.config, actions=config.actions)
    return 0


COMMAND = Command(
    "config-update",
    run,
    "hqf:d",
    ("quiet", "defconfig="),
    options="-h                      Print this help.\n"
    "-f FILE, --defconfig=FILE\n"
    "                     Use the given configuration file.\n"
    "-d                      Enable debug messages.\n",
    example="xl config-update guest guest.cfg",
)
COMMANDS = (COMMAND,)
