"""Verbs for what this host does not have: xl's own checks and words, and then what is missing.

A host without Flask, pass-through, VNC or migration refuses them in these words; unbuilt.py has
those for which nobody has words.
"""

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Final

from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.xl.command import Call, Command, find_domain
from hvsim.toolstack.xl.table import VERBS

SAVE_MAGIC: Final = b"Xen saved domain, xl format\n \0 \r"
_CLASSES: Final = {
    "channel-list": f"Idx BE state evt-ch ring-ref {'connection':<41}",
    "vtpm-list": f"Idx BE {'Uuid':<36} handle state evt-ch ring-ref BE-path   ",
    "vkb-list": f"Idx BE handle state evt-ch    ref {'ID':<10} BE-type    {'BE-path':<30}",
    "vdispl-list": "",
    "vsnd-list": "",
    "usb-list": "",
    "pci-list": "",
}
"""Classes of devices that no guest has, and the heads of their lists."""


async def domain(call: Call, text: str) -> int:
    """The domain of that name.  Raises: ToolstackError in xl's words."""
    async with call.toolstack.store() as store:
        return await find_domain(call, store, text)


def _list(name: str) -> Command:
    """The list of a class of devices that no guest has."""

    async def run(call: Call) -> int:
        for text in command.parse(call).rest:
            await domain(call, text)
        if _CLASSES[name]:
            await call.reply.out(_CLASSES[name])
        return 0

    command = Command(name, run, wanted=1)
    return command


def refused(
    name: str,
    check: Callable[[Call, list[str]], Awaitable[None]],
    *,
    wanted: int = 1,
    short: str = "",
    long: tuple[str, ...] = (),
    options: str | None = None,
) -> Command:
    """A verb that *check* ends with a ToolstackError, whatever is asked."""

    async def run(call: Call) -> int:
        words = command.parse(call)
        await check(call, words.rest)
        raise ToolstackError("command not implemented")

    command = Command(name, run, short, long, wanted=wanted, options=options)
    return command


# -- what the machine lacks ----------------------------------------------------------------------


async def _getenforce(call: Call, words: list[str]) -> None:
    await call.reply.out("Flask XSM Disabled")
    raise ToolstackError(code=255)


async def _setenforce(call: Call, words: list[str]) -> None:
    raise ToolstackError("Flask XSM disabled", code=255)


async def _loadpolicy(call: Call, words: list[str]) -> None:
    try:
        with open(words[0], "rb"):
            pass
    except OSError as failure:
        why = os.strerror(failure.errno or errno.EIO)
        raise ToolstackError(
            f"Error occurred opening policy file '{words[0]}': {why}", code=255
        ) from None
    raise ToolstackError("Flask XSM is disabled, ignoring load request", code=255)


async def _psr(call: Call, words: list[str]) -> None:
    await call.reply.out("Cache Monitoring Technology (CMT):", "Enabled         : 0")
    raise ToolstackError(code=253)


async def _vnc(call: Call, words: list[str]) -> None:
    domid = await domain(call, words[0])
    raise ToolstackError(
        libxl(f"libxl_console.c:201:libxl_vncviewer_exec: Domain {domid}:Cannot get vnc-port")
    )


async def _qmp(call: Call, words: list[str]) -> None:
    domid = await domain(call, words[0])
    raise ToolstackError(
        libxl(
            f"libxl_qmp.c:1334:qmp_ev_lock_aquired: Domain {domid}:Failed to connect to QMP socket "
            f"/var/run/xen/qmp-libxl-{domid}: No such file or directory"
        )
    )


async def _cdrom(call: Call, words: list[str]) -> None:
    domid = await domain(call, words[0])
    if len(words) > 2 and not os.path.exists(words[2]):
        raise ToolstackError(f"Cannot stat file: {words[2]}")
    raise ToolstackError(
        libxl(
            f"libxl_disk.c:838:libxl_cdrom_insert: Domain {domid}:cdrom-insert requires an HVM "
            "domain"
        )
    )


async def _pci(call: Call, words: list[str]) -> None:
    await domain(call, words[0])
    raise ToolstackError(
        libxl(
            "libxl_pci.c:444:libxl_device_pci_assignable_list: Looks like pciback driver not loaded"
        )
    )


async def _pci_list(call: Call) -> int:
    await call.reply.err(
        libxl(
            "libxl_pci.c:444:libxl_device_pci_assignable_list: Looks like pciback driver not loaded"
        )
    )
    return 0


# -- a domain's memory in a file, or on another host ---------------------------------------------


async def _save(call: Call, words: list[str]) -> None:
    domid = await domain(call, words[0])
    folder = os.path.dirname(os.path.join(call.cwd, words[1]))
    if not os.access(folder, os.W_OK):
        raise ToolstackError(f"Failed to open temp file {words[1]} for writing")
    raise ToolstackError(
        libxl(
            f"libxl_dom_suspend.c:372:suspend_common_wait_guest_timeout: Domain {domid}:guest did "
            "not suspend, timed out"
        ),
        "Failed to save domain, resuming domain",
        "(a domain of this host is a process whose memory is not kept; it goes on)",
    )


async def _restore(call: Call, words: list[str]) -> None:
    try:
        with open(os.path.join(call.cwd, words[-1]), "rb") as file:
            head = file.read(len(SAVE_MAGIC))
    except OSError as failure:
        why = os.strerror(failure.errno or errno.EIO)
        raise ToolstackError(f"Can't open restore file: {why}") from None
    if head[:27] != SAVE_MAGIC[:27]:
        raise ToolstackError("File has wrong magic number - corrupt or for a different tool?")
    raise ToolstackError("command not implemented", "(no domain of this host can be restored)")


async def _domain_only(call: Call, words: list[str]) -> None:
    await domain(call, words[0])


_RESTORE: Final = (
    "-h                       Print this help.\n"
    "-p                       Do not unpause domain after restoring it.\n"
    "-e                       Do not wait in the background for the death of the domain.\n"
    "-d                       Enable debug messages.\n"
    "-V, --vncviewer          Connect to the VNC display after the domain is created.\n"
    "-A, --vncviewer-autopass Pass VNC password to viewer via stdin."
)
_SAVE: Final = (
    "-h  Print this help.\n"
    "-c  Leave domain running after creating the snapshot.\n"
    "-p  Leave domain paused after creating the snapshot.\n"
    "-D  Store the domain id in the configuration."
)
_MIGRATE: Final = (
    "-h              Print this help.\n"
    "-C <config>     Send <config> instead of config file from creation.\n"
    "-s <sshcommand> Use <sshcommand> instead of ssh.  String will be passed\n"
    "                to sh. If empty, run <host> instead of ssh <host> xl\n"
    "                migrate-receive [-d -e]\n"
    "-e              Do not wait in the background (on <host>) for the death\n"
    "                of the domain.\n"
    "--debug         Print huge (!) amount of debug during the migration process.\n"
    "-p              Do not unpause domain after migrating it.\n"
    "-D              Preserve the domain id"
)
_REMUS: Final = (
    "-i MS                   Checkpoint domain memory every MS milliseconds (def. 200ms).\n"
    "-u                      Disable memory checkpoint compression.\n"
    "-s <sshcommand>         Use <sshcommand> instead of ssh.  String will be passed\n"
    "                        to sh. If empty, run <host> instead of \n"
    "                        ssh <host> xl migrate-receive -r [-e]\n"
    "-e                      Do not wait in the background (on <host>) for the death\n"
    "                        of the domain.\n"
    "-N <netbufscript>       Use netbufscript to setup network buffering instead of the\n"
    "                        default script (/etc/xen/scripts/remus-netbuf-setup).\n"
    "-F                      Enable unsafe configurations [-b|-n|-d flags]. Use this option\n"
    "                        with caution as failover may not work as intended.\n"
    "-b                      Replicate memory checkpoints to /dev/null (blackhole).\n"
    "                        Works only in unsafe mode.\n"
    "-n                      Disable network output buffering. Works only in unsafe mode.\n"
    "-d                      Disable disk replication. Works only in unsafe mode.\n"
    "-c                      Enable COLO HA. It is conflict with -i and -b, and memory\n"
    "                        checkpoint must be disabled.\n"
    "-p                      Use COLO userspace proxy."
)
_PSR: Final = (
    "-m, --cmt       Show Cache Monitoring Technology (CMT) hardware info\n"
    "-a, --cat       Show Cache Allocation Technology (CAT) hardware info\n"
    "-b, --mba       Show Memory Bandwidth Allocation (MBA) hardware info\n"
)
_PCI_LIST: Final = (
    "-h                      Print this help.\n"
    "-n, --show-names        Display assignable device names where\n"
    "                        supplied.\n"
)

COMMANDS = (
    *(_list(name) for name in _CLASSES),
    Command("pci-assignable-list", _pci_list, "n", ("show-names",), options=_PCI_LIST),
    refused("getenforce", _getenforce, wanted=0),
    refused("setenforce", _setenforce),
    refused("loadpolicy", _loadpolicy),
    refused("psr-hwinfo", _psr, wanted=0, short="mab", long=("cmt", "cat", "mba"), options=_PSR),
    refused("vncviewer", _vnc, long=("autopass", "vncviewer-autopass")),
    refused("qemu-monitor-command", _qmp, wanted=2),
    refused("cd-insert", _cdrom, wanted=3),
    refused("cd-eject", _cdrom, wanted=2),
    refused("pci-attach", _pci, wanted=2),
    refused("pci-detach", _pci, wanted=2),
    refused("save", _save, wanted=2, short="cpD", options=_SAVE),
    refused(
        "restore",
        _restore,
        short="FcpdeVA",
        long=("vncviewer", "vncviewer-autopass"),
        options=_RESTORE,
    ),
    refused("dump-core", _domain_only, wanted=2),
    refused(
        "migrate",
        _domain_only,
        wanted=2,
        short="FC:s:epD",
        long=("debug", "live"),
        options=_MIGRATE,
    ),
    refused("remus", _domain_only, wanted=2, short="Fi:us:eN:bndcp", options=_REMUS),
)
"""Verbs of the kind; the others of VERBS are not built."""

assert all(command.name in VERBS for command in COMMANDS)
