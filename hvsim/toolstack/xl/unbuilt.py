"""Verbs of xl that are not built: their words are read as xl reads them, then it says so."""

from typing import Final

from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.xl.absent import domain
from hvsim.toolstack.xl.command import Call, Command

_INSTEAD: Final = {
    "devd": "a driver domain's own program does what xl devd does in a real one",
    "top": "run Xen's own: `hvsim exec Domain-0 -- xentop`",
    "migrate-receive": "a domain cannot move to another host",
}


def _unbuilt(
    name: str,
    wanted: int = 0,
    short: str = "",
    long: tuple[str, ...] = (),
    *,
    options: str | None = None,
    place: int | None = None,
) -> Command:
    """A verb that ends with "command not implemented".

    Args:
        place: the word that names a domain, which must be there.
    """

    async def run(call: Call) -> int:
        words = command.parse(call)
        if place is not None:
            await domain(call, words.rest[place])
        why = [f"({_INSTEAD[name]})"] if name in _INSTEAD else []
        raise ToolstackError("command not implemented", *why)

    command = Command(name, run, short, long, wanted=wanted, options=options)
    return command


_ADD: Final = (
    "-n NAME, --name=NAME    Name the assignable device.\n"
    "-h                      Print this help.\n"
)
_REMOVE: Final = (
    "-h                      Print this help.\n"
    "-r                      Attempt to re-assign the device to the\n"
    "                        original driver."
)
_VDISPL: Final = (
    "    BackAlloc  - set to 1 to if backend allocates display buffers\n"
    "    Connectors - list of connector's description in ID:WxH format,\n"
    "                 where: ID - unique connector ID, W - connector width,\n"
    "                 H - connector height: connectors='id0:800x600;id1:1024x768'\n"
)
_POOL: Final = (
    "-h, --help                   Print this help.\n"
    "-f FILE, --defconfig=FILE    Use the given configuration file.\n"
    "-n, --dryrun                 Dry run - prints the resulting configuration.\n"
    "                              (deprecated in favour of global -N option).\n"
    "\nSee the xlcpupool.cfg(5) manpage for more information."
)
_DEVD: Final = (
    "-F                      Run in the foreground.\n"
    "-p, --pidfile [FILE]    Write PID to pidfile when daemonizing."
)
_CMT: Final = (
    "Available monitor types:\n"
    '"cache-occupancy":         Show L3 cache occupancy(KB)\n'
    '"total-mem-bandwidth":     Show total memory bandwidth(KB/s)\n'
    '"local-mem-bandwidth":     Show local memory bandwidth(KB/s)\n'
)
_SOCKET: Final = (
    "-s <socket>       Specify the socket to process, otherwise all sockets are processed\n"
)
_LEVEL: Final = (
    "-l <level>        Specify the cache level to process, otherwise L3 cache is processed\n"
)
_CODE: Final = (
    "-c                Set code CBM if CDP is supported\n"
    "-d                Set data CBM if CDP is supported\n"
)

COMMANDS = (
    _unbuilt("pci-assignable-add", 1, "n:", ("name=",), options=_ADD),
    _unbuilt("pci-assignable-remove", 1, "r", options=_REMOVE),
    _unbuilt("migrate-receive", 0, "Fedrp", ("colo", "coloft-script=", "userspace-colo-proxy")),
    _unbuilt("top"),
    _unbuilt("devd", 0, "Fp:", ("pidfile=",), options=_DEVD),
    *(_unbuilt(f"{kind}-attach", 1, place=0) for kind in ("vtpm", "vkb", "vsnd", "usbctrl")),
    *(_unbuilt(f"{kind}-detach", 2, place=0) for kind in ("vtpm", "vkb", "vsnd", "usbctrl")),
    _unbuilt("vdispl-attach", 1, options=_VDISPL, place=0),
    _unbuilt("vdispl-detach", 2, place=0),
    _unbuilt("usbdev-attach", 2, place=0),
    _unbuilt("usbdev-detach", 3, place=0),
    _unbuilt("cpupool-create", 0, "nf:", ("defconfig=", "dryrun"), options=_POOL),
    _unbuilt("cpupool-rename", 2),
    _unbuilt("cpupool-cpu-add", 2),
    _unbuilt("cpupool-cpu-remove", 2),
    _unbuilt("cpupool-migrate", 2, place=0),
    _unbuilt("cpupool-numa-split"),
    _unbuilt("psr-cmt-attach", 1, place=0),
    _unbuilt("psr-cmt-detach", 1, place=0),
    _unbuilt("psr-cmt-show", 2, options=_CMT, place=1),
    _unbuilt("psr-cat-set", 2, "s:l:cd", options=_SOCKET + _LEVEL + _CODE, place=0),
    _unbuilt("psr-cat-show", 0, "l:", options=_LEVEL),
    _unbuilt("psr-mba-set", 2, "s:", options=_SOCKET, place=0),
    _unbuilt("psr-mba-show"),
)
