"""Xen's own daemons as processes of dom0: which there are, and the command line of each.

``store = "xenstored"`` or ``"oxenstored"`` and ``console = "xenconsoled"`` under ``[lab]`` put a
daemon of Debian's xen-utils in the place of ours.  It runs unmodified, with the node library
between it and the hypervisor, and gets all that it writes (socket, pid file, logs) below the lab's
run directory.

Source: tools/xenstore/xenstored_core.c (usage), tools/ocaml/xenstored/xenstored.ml and
oxenstored.conf, tools/console/daemon/main.c of Xen 4.17.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hvsim.lab.builtin import BUILTIN
from hvsim.lab.model import Lab
from hvsim.lab.rundir import RunDir

INSTALL: Final = "install Debian's xen-utils-4.17 (apt install xen-utils-4.17)"
"""The remedy for a daemon that is not there."""
PROGRAMS = Path("/usr/lib")
"""Below it xen-<version>/bin; the wrappers of the same names in /usr/sbin want a running Xen."""

REAL: Final[Mapping[str, tuple[str, ...]]] = {
    "store": ("xenstored", "oxenstored"),
    "console": ("xenconsoled",),
}
"""The keys below [lab] that may name a daemon of Xen's, and which."""

_C_QUOTA: Final = {
    "nodes": "--entry-nb={}",
    "node-size": "--entry-size={}",
    "watches": "--watch-nb={}",
    "transactions": "--transaction={}",
    "permissions": "--perm-nb={}",
    "path-max": "--path-max={}",
    "transaction-nodes": "--quota=transaction-nodes={}",
    "memory": "--quota=memory={}",
    "outstanding": "--quota=outstanding={}",
}
_OCAML_QUOTA: Final = {
    "nodes": "quota-maxentity",
    "node-size": "quota-maxsize",
    "watches": "quota-maxwatch",
    "transactions": "quota-transaction",
    "path-max": "quota-path-max",
    "outstanding": "quota-maxoutstanding",
}
QUOTA: Final[Mapping[str, Mapping[str, str]]] = {
    "xenstored": _C_QUOTA,
    "oxenstored": _OCAML_QUOTA,
}
"""What stands for each of our quotas in the daemon's own words; others it has not."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a daemon is started.

    Attributes:
        files: what must stand in the run directory before: path -> content.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)


def find(program: str) -> Path | None:
    """The newest *program* of any xen-utils that is installed."""
    found = sorted(PROGRAMS.glob(f"xen-*/bin/{program}"))
    return found[-1] if found else None


def store_command(lab: Lab, run: RunDir) -> Command:
    """The lab's real xenstored.  Raises LookupError when it is not installed."""
    program = str(_found(lab.store))
    folder = str(run.xenstored.parent)
    env = {"XENSTORED_RUNDIR": folder, "XENSTORED_ROOTDIR": folder}
    if lab.store == "oxenstored":
        config = run.xenstored.with_name("oxenstored.conf")
        conf = {config: _oxenstored_conf(lab, run)}
        return Command((program, "--no-fork", "--config-file", str(config)), env, conf)
    options = [_C_QUOTA[name].format(limit) for name, limit in sorted(lab.store_quota.items())]
    if lab.trace:
        options.append(f"--trace-file={run.log / 'xenstored.trace'}")
    return Command((program, "--no-fork", *options), env)


def console_command(run: RunDir) -> Command:
    """The real xenconsoled.  Raises LookupError when it is not installed."""
    argv = (str(_found("xenconsoled")), "--interactive", "--log=guest", f"--log-dir={run.console}")
    return Command(argv, {"XENSTORED_PATH": str(run.xenstored)})


def prepare(lab: Lab, run: RunDir) -> None:
    """Write what the lab's daemons read at their start.  Raises OSError."""
    if lab.store != BUILTIN:
        for path, content in store_command(lab, run).files.items():
            path.write_text(content, encoding="utf-8", errors="surrogateescape")


def _found(program: str) -> Path:
    path = find(program)
    if path is None:
        raise LookupError(f"{program} is not installed: {INSTALL}")
    return path


def _oxenstored_conf(lab: Lab, run: RunDir) -> str:
    """Debian's settings, with files of this lab: by default it would write into /var/log/xen."""
    lines = [
        f"pid-file = {run.xenstored.with_name('pid')}",
        "xenstored-kva = /proc/xen/xsd_kva",
        "xenstored-port = /proc/xen/xsd_port",
        "persistent = false",
        "merge-activate = true",
        "perms-activate = true",
        "perms-watch-activate = true",
        "quota-activate = true",
        *(f"{_OCAML_QUOTA[name]} = {limit}" for name, limit in sorted(lab.store_quota.items())),
        f"xenstored-log-file = {run.log / 'oxenstored.log'}",
    ]
    if lab.trace:
        lines += [
            f"access-log-file = {run.log / 'xenstored.trace'}",
            "access-log-read-ops = true",
            "access-log-transactions-ops = true",
            "access-log-special-ops = true",
        ]
    else:  # it cannot do without one
        lines.append(f"access-log-file = {run.log / 'oxenstored-access.log'}")
    return "\n".join(lines) + "\n"
