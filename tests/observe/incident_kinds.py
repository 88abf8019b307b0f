"""What an incident is, the lab that it is done to, and the usual kinds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from hvsim.faults.now import inject
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.door import Door
from hvsim.lab.rundir import RunDir
from hvsim.lab.store import open_store
from tests.support.asking import asked
from tests.support.served_web import served_web
from tests.support.waits import wait

LAB = (
    served_web("inc", "reader:main")
    + """
[[domain]]
name = "doomed"
memory = 16
program = "domains.guests.idle:main"
on_crash = "preserve"
"""
)
READER = """
from hvsim.drivers.block.front import BlockFront

def main(dom):
    BlockFront.register(dom)
    disk = BlockFront.open(dom, "xvda")
    dom.ready()
    while dom.shutdown_requested is None:
        disk.read(0, 8)
"""
"""The program of a guest that uses its disk without rest; beside the lab file."""
NAMES = (
    *("hypervisor", "spawner", "xenstored", "kernel", "xenconsoled", "toolstack"),
    *("storage", "network", "web", "doomed", "broken", "qemu"),
)
"""Who is there, and so might be blamed by mistake."""


class Host:
    """The running lab, as the incidents see it.

    Attributes:
        image: a file that may be attached.
        missing: one that is not there.
    """

    def __init__(self, run: RunDir, folder: Path) -> None:
        self.run = run
        self.image = folder / "more.img"
        self.image.write_bytes(bytes(4096))
        self.missing = folder / "no-such.img"
        self.folder = folder

    def fault(self, action: str, who: str) -> int:
        """As ``hvsim fault``; the pid of whom it hit."""
        return int(inject(self.run, action, who)["pid"])

    def ask(self, verb: str, **fields: Any) -> str:
        """A request over the control wire, as the commands make it; what it said, with how it
        failed."""
        with Control(self.run.control, alive=lambda: self.run.running) as control:
            try:
                answer = control.request(asked(verb, **fields))
            except ControlError as failure:
                return f"hvsim: {failure}"
            return answer.err if answer.exit else f"{answer.err}(it worked)\n{answer.out}"

    def xl(self, *argv: str) -> str:
        """An xl command."""
        return self.ask("xl", argv=list(argv), cwd="/")

    def create(self, name: str, **fields: Any) -> str:
        """A small domain, as a lab file describes one."""
        return self.ask("create", config=f'name="{name}"\nmemory=8\n', directory="/", **fields)


Step = Callable[[Host], object]


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        who: is to blame; "" when it is nobody's process but a word in a config.
        strike: what happens.
        command: what somebody runs then; its words.
        says: what must be in them, with {pid} for the pid that was struck.
        heal: what makes it good.
        ps: what ``ps`` must say; None: that *who* stands still.  Of *who* comes back by itself it
            may already say nothing.
        returns: *who* comes back by itself.
        heals: afterwards nobody is to blame any more.
    """

    name: str
    who: str
    strike: Step
    command: Callable[[Host], str]
    says: str
    heal: Step
    ps: str | None = None
    returns: bool = False
    heals: bool = True


def in_turn(*steps: Step) -> Step:
    def do(host: Host) -> None:
        for step in steps:
            step(host)

    return do


def stalled(who: str, command: Callable[[Host], str], undo: Step | None = None) -> Incident:
    """Somebody stands still, and a command needs him; *undo* what it has left."""
    return Incident(
        f"{who} stalled",
        who,
        lambda host: host.fault("stall", who),
        command,
        rf"{who} \(pid {{pid}}\) stands still \(SIGSTOP\); `hvsim fault resume {who}`",
        in_turn(lambda host: host.fault("resume", who), *([undo] if undo is not None else [])),
    )


def _log_of_restart(who: str) -> Callable[[Host], str]:
    """``xl dmesg``, once init has said its word there (bounded)."""

    def look(host: Host) -> str:
        deadline = time.monotonic() + 10.0
        while not re.search(f"{who} .*again", said := host.xl("dmesg")):
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        return said

    return look


def killed(who: str) -> Incident:
    """A daemon is killed and comes back: no command fails for it, and the log has its end."""
    return Incident(
        f"{who} killed",
        who,
        lambda host: host.fault("kill", who),
        _log_of_restart(who),
        rf"{who} \(pid {{pid}}\) was killed by SIGKILL: it is started again",
        lambda host: None,
        returns=True,
    )


def attach_disk(host: Host) -> str:
    return host.xl("block-attach", "web", f"{host.image},raw,xvdb,w")


def attach_served(host: Host) -> str:
    return host.xl("block-attach", "web", f"vdev=xvdb,backend=storage,target={host.image}")


def detach(host: Host) -> None:
    host.xl("block-detach", "web", "xvdb")


def attach_vif(backend: str) -> Callable[[Host], str]:
    return lambda host: host.xl("network-attach", "web", f"backend={backend}")


def shut_down(host: Host) -> str:
    """What is given up is taken back: the guest must not find it when it goes on."""
    said = host.xl("shutdown", "web")
    with open_store(host.run) as store:
        node = f"/local/domain/{host.run.record['domains']['web']}/control/shutdown"
        deadline = time.monotonic() + 30.0
        while store.read(node) and time.monotonic() < deadline:
            time.sleep(0.002)
    return said


def kill_now(host: Host, who: str) -> int:
    """And wait until the hypervisor has taken note of it."""
    pid = host.fault("kill", who)
    with Door(host.run.door) as door:
        wait(
            lambda: not any(row["pid"] == pid and row["alive"] for row in door.processes()),
            f"the end of {who}",
        )
    return pid


def detach_vif(host: Host) -> None:
    for number in range(1, 4):
        host.xl("network-detach", "web", str(number))


def killed_midway(host: Host) -> str:
    """The toolstack dies while it waits for a backend that is paused."""
    said: list[str] = []
    asker = Thread(target=lambda: said.append(attach_served(host)))
    asker.start()
    disk = f"/libxl/{host.run.record['domains']['web']}/device/vbd/51728"
    with open_store(host.run) as store:
        while asker.is_alive() and not store.exists(disk):
            time.sleep(0.002)
    host.fault("kill", "toolstack")
    asker.join()
    return said[0]


def given_up(name: str, command: Callable[[Host], str], says: str) -> Incident:
    """What has died again and again is not started any more."""
    return Incident(
        f"{name} given up",
        name,
        lambda host: None,
        command,
        says,
        lambda host: None,
        ps=rf"{name} has died 8 times within 60 s and stays dead",
        heals=False,
    )
