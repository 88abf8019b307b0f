"""What the hypervisor is told at its start: the machine, and the processes of dom0.

dom0 is several programs, as in a real dom0: xenstored, the kernel (block backend), xenconsoled
and the toolstack, each with a hypercall connection of its own and all of them domid 0.  The first
and the third may be Xen's own.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from hvsim.lab.builtin import BUILTIN
from hvsim.lab.devices import declarations
from hvsim.lab.model import Lab
from hvsim.lab.real_daemons import Command, console_command, store_command
from hvsim.lab.rundir import RunDir
from hvsim.names.size import MIB, PAGE_SIZE
from hvsim.wire.boot import Boot, Dom0, Lockstep, Spawner
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import write

DOM0_MEMORY = 512
"""MiB of dom0; sparse, as all memory of a lab."""

SPAWNER = (sys.executable, "-X", "utf8", "-P", "-m", "hvsim.spawn.spawner")
"""The command of the fork server that the hypervisor starts for all domain processes."""

PRELOAD = (
    "hvsim.domain",
    "hvsim.drivers.block.front",
    "hvsim.drivers.block.back",
    "hvsim.xenstore.daemon.daemon",
    "domains.dom0",
    "domains.consoled",
    "domains.storage",
    "domains.guests.idle",
)
"""Modules that the warm spawner has loaded before it makes the first domain.

Not the toolstack: what it stands on (asyncio, ZeroMQ) is big, and registers functions that every
forked child runs.  Its process imports it while xenstored and the kernel start.
"""

_STORE: Final = "hvsim.xenstore.daemon.daemon:main"
STORE_SUCCESSOR: Final = ("-P", "-m", "hvsim.spawn.successor")
"""What the interpreter is told when the store is updated live."""


def dom0_processes(lab: Lab, run: RunDir, *, lockstep: bool = False) -> list[Spawn]:
    """Dom0's processes, in the order of their start.

    In *lockstep* without the one for people outside; and what is drawn there does not follow from
    where the lab runs and what it is called.
    """
    common = {"lab": run.name, "run_dir": str(run.path), "seed": lab.seed}
    trace = str(run.log / "xenstored.trace") if lab.trace else None
    store = str(run.xenstored)
    journal = str(run.xenstored.with_name("journal"))
    programs: list[tuple[str, str | Command, dict[str, Any]]] = [
        (
            "xenstored",
            _STORE if lab.store == BUILTIN else store_command(lab, run),
            {
                "socket": store,
                "trace": trace,
                "handshake": lab.handshake,
                "journal": journal,
                "quota": dict(lab.store_quota),
                "successor": list(STORE_SUCCESSOR),
            },
        ),
        ("kernel", "domains.dom0:main", {"xenstored": store}),
        (
            "xenconsoled",
            "domains.consoled:main" if lab.console == BUILTIN else console_command(run),
            {
                "xenstored": store,
                "console_dir": str(run.console),
                "log_dir": str(run.console),
                "real_store": lab.store != BUILTIN,
            },
        ),
        (
            "toolstack",
            "hvsim.toolstack.daemon.daemon:main",
            {
                "xenstored": store,
                "console_dir": str(run.console),
                "lab_file": str(lab.file),
                "drawn_from": [] if lockstep else [run.name, str(run.path)],
                "defaults": _defaults(lab, run),
            },
        ),
        ("zmq-edge", "domains.edge:main", {}),
    ]
    specs = [
        Spawn(
            name="Domain-0",
            process=process,
            program=program if isinstance(program, str) else "domains.daemon:main",
            profile="dom0",
            path=(str(lab.file.parent),),
            args={**common, **args, **_executable(program)},
            place=str(run.place),
            stdout=str(run.log / f"{process}.log"),
        )
        for process, program, args in programs
    ]
    xenstored, kernel, xenconsoled, toolstack, zmq_edge = specs
    specs.remove(zmq_edge)  # nobody of the lab needs it: the kernel starts it when the lab stands
    # The kernel is dom0's init as well. A store of ours finds its journal and goes on; a real one
    # has lost everything. A real xenconsoled ends when there is no store yet, and cannot find one
    # again.
    daemons = [xenstored, xenconsoled, toolstack]
    followers = []
    if lab.store != BUILTIN:
        daemons.remove(xenstored)
        kernel.args["mourned"] = "xenstored"
        toolstack.args["mourned"] = {
            "process": "xenstored",
            "program": xenstored.args["exec"][0],
        }
    if lab.console != BUILTIN:
        daemons.remove(xenconsoled)
        specs.remove(xenconsoled)
        followers.append(xenconsoled)
    kernel.args["daemons"] = list(map(write, daemons))
    kernel.args["followers"] = list(map(write, followers))
    kernel.args["later"] = [] if lockstep else [write(zmq_edge)]
    return specs


def _defaults(lab: Lab, run: RunDir) -> dict[str, Any]:
    """What the toolstack must know for `xl create` and `xl block-attach` by hand."""
    return {
        "images": lab.image_paths(run.images),
        "files": [],
        "path": [str(lab.file.parent)],
        "shared": [str(image.location(run.images)) for image in lab.images if image.shared],
        "walls": lab.walls,
        "devices": declarations(lab.devices),
    }


def _executable(program: str | Command) -> dict[str, Any]:
    """What ``domains.daemon`` is told of the program that the process is to become."""
    if isinstance(program, str):
        return {}
    return {"exec": list(program.argv), "env": dict(program.env)}


def boot_config(
    lab: Lab,
    run: RunDir,
    cgroups: Mapping[str, str] | None = None,
    lockstep: Lockstep | None = None,
) -> Boot:
    """What the hypervisor reads before it does anything else.

    Args:
        cgroups: the directories in which cgroups of domains are made.
        lockstep: how the processes take turns; None: all at once.
    """
    return Boot(
        lab=run.name,
        memory_pages=(lab.memory + DOM0_MEMORY) * MIB // PAGE_SIZE,
        cpus=lab.cpus,
        event_mode=lab.event_mode,
        seed=lab.seed,
        lockstep=lockstep,
        log_dir=str(run.log),
        door=str(run.door),
        obituary=str(run.obituary),
        cgroups=dict(cgroups or {}),
        dom0=Dom0(
            memory_pages=DOM0_MEMORY * MIB // PAGE_SIZE,
            max_vcpus=min(lab.cpus, os.cpu_count() or 1),
            processes=tuple(dom0_processes(lab, run, lockstep=lockstep is not None)),
        ),
        spawner=Spawner(argv=SPAWNER, preload=PRELOAD),
    )
