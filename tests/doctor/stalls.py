"""Sixteen stalls: how each is made, and what a doctor has to say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvsim.lab.control import Control
from hvsim.lab.rundir import RunDir
from hvsim.observe.diagnosis.looking import look
from hvsim.observe.diagnosis.rows import DoctorRow
from hvsim.observe.diagnosis.told import told
from tests.doctor.misbehaving import PROGRAMS
from tests.support.asking import asked
from tests.support.labs import Commands
from tests.support.served_web import served_web
from tests.support.waits import wait

LAB = served_web("ill", "misbehaving:reader")


class Ward:
    """The running lab."""

    def __init__(self, made: Commands, folder: Path) -> None:
        self.made, self.folder = made, folder
        (folder / "ill.toml").write_text(LAB)
        (folder / "misbehaving.py").write_text(PROGRAMS)
        made.ok("up", "--quiet", str(folder / "ill.toml"))
        self.run = RunDir(made.base / "ill").read()
        self.numbers: list[int] = []
        self._stopped: list[tuple[str, ...]] = []
        self._guests: list[str] = []

    def ask(self) -> DoctorRow:
        """As ``hvsim doctor --json`` does."""
        return told(look(self.run))

    def hvsim(self, *words: str) -> str:
        """A command; what it has stopped is cured by `heal`."""
        match words:
            case ("fault", "stall", name):
                self._stopped.append(("fault", "resume", name))
            case ("xl", "pause", name):
                self._stopped.append(("xl", "unpause", name))
        return self.made.ok(*words)

    def rule(self, *words: str) -> int:
        """A rule; taken away by `heal`."""
        self.numbers.append(json.loads(self.made.ok("fault", "add", *words, "--json"))["number"])
        return self.numbers[-1]

    def guest(self, name: str, program: str, *more: str, backend: str = "storage") -> None:
        """A guest of one disk."""
        image = self.folder / f"{name}.img"
        image.write_bytes(bytes(1 << 20))
        disk = f'disk=["vdev=xvda,access=rw,backend={backend},target={image}"]'
        self.create(name, f"misbehaving:{program}", disk, *more)

    def driver(self, name: str, **fields: Any) -> None:
        """One more domain that serves disks."""
        self.create(
            name,
            "domains.storage:main",
            profile="driver",
            files=[[str(self.folder), "rw"]],
            **fields,
        )

    def create(self, name: str, program: str, *lines: str, **fields: Any) -> None:
        """A small domain; it goes by `heal`."""
        self._guests.append(name)
        config = "\n".join([f'name="{name}"', "memory=32", f'program="{program}"', *lines])
        with Control(self.run.control, alive=lambda: self.run.running) as control:
            answer = control.request(
                asked(
                    "create",
                    config=config,
                    directory=str(self.folder),
                    path=self._path(),
                    **fields,
                )
            )
        assert answer.exit == 0, answer

    def _path(self) -> list[str]:
        return [str(self.folder), str(Path(__file__).resolve().parents[2])]

    def heal(self) -> None:
        """Everybody well again, and nobody here but those of the lab file."""
        for cure in self._stopped:
            self.made.run(*cure)
        for number in self.numbers:
            self.made.run("fault", "remove", str(number))
        for name in self._guests:
            self.made.run("xl", "destroy", name)
        self._stopped.clear()
        self.numbers.clear()
        self._guests.clear()
        wait(lambda: self.ask()["well"], f"the lab to be well: {self.ask()['findings']}")


@dataclass(frozen=True)
class Stall:
    """One.

    Attributes:
        make: what happens.
        culprit, what: of the first finding; {rule} is the number of the rule.
        says: in its sentence.
        cure: in its cure.
        behind: who waits behind it.
    """

    name: str
    make: Callable[[Ward], object]
    culprit: str
    what: str
    says: str
    cure: str
    behind: tuple[str, ...] = ()


def circular(ward: Ward) -> None:
    ward.create("halfway", "misbehaving:halfway")
    ward.guest("circular", "circular", backend="halfway")


def dead(ward: Ward) -> None:
    ward.driver("fragile")
    ward.guest("orphan", "reader", backend="fragile")
    ward.hvsim("fault", "kill", "fragile")


def held(ward: Ward) -> None:
    ward.guest("dying", "reader")
    ward.rule("dying/xvda", "grant=hold")
    ward.hvsim("xl", "destroy", "dying")


def looped(ward: Ward) -> None:
    ward.driver("fragile", restart="always")
    ward.rule("fragile", "process=restart-loop", "in=100ms")


STALLS = [
    Stall(
        "stuck in state 2",
        lambda ward: ward.guest("shy", "shy"),
        *("shy", "handshake"),
        r"shy/xvda is stuck in state 2: blkback in storage \(domain \d+\) is InitWait and waits "
        r"for the frontend of shy \(domain \d+\), which is Initialising since \d",
        r"hvsim xl reboot shy",
        ("storage",),
    ),
    Stall(
        "frontend gone",
        lambda ward: ward.guest("gone", "gone"),
        *("gone", "frontend-gone"),
        r"gone/xvda: the frontend is gone, .*; blkback in storage \(domain \d+\) is \w+ and waits",
        r"hvsim xl block-detach gone 51712, and attach it again",
        ("storage",),
    ),
    Stall(
        "backend stopped",
        lambda ward: ward.hvsim("fault", "stall", "storage"),
        *("storage", "stopped"),
        r"blkback in storage \(domain \d+\) has 1 request unanswered since \d+\.\d s; it is "
        r"stopped \(SIGSTOP\); web waits behind it",
        r"hvsim fault resume storage",
        ("web",),
    ),
    Stall(
        "doorbell lost",
        lambda ward: ward.guest("mute", "mute"),
        *("mute/xvda", "bell-lost"),
        r"a doorbell of mute/xvda was lost: 1 request in the ring at which it has not looked,"
        r" and blkback in storage \(domain \d+\) sleeps",
        r"hvsim fault add mute/xvda bell\.storm=1/s for=3s",
        ("mute",),
    ),
    Stall(
        "ring full",
        lambda ward: ward.guest("deaf", "deaf"),
        *("deaf", "ring-full"),
        r"the ring of deaf/xvda is full, all 32 slots: deaf \(domain \d+\) does not take its "
        r"answers",
        r"hvsim xl reboot deaf",
    ),
    Stall(
        "quota hit",
        lambda ward: ward.create("greedy", "misbehaving:greedy"),
        *("greedy", "quota"),
        r"greedy \(domain \d+\) has hit the store's quota 'nodes' \(1000\): .* since \d",
        r"hvsim xenstore control quota set nodes 2000",
    ),
    Stall(
        "dead domain",
        dead,
        *("fragile", "gone"),
        r"fragile \(domain \d+\) has crashed|blkback in fragile .* it has crashed",
        r"make fragile again \(hvsim xl create\), or detach what it served",
        ("orphan",),
    ),
    Stall(
        "two halves waiting for each other",
        circular,
        *("circular/xvda", "circle"),
        r"circular/xvda: its two halves wait for each other: the frontend of circular \(domain "
        r"\d+\) is Initialised, blkback in halfway \(domain \d+\) is Initialised",
        r"hvsim xl reboot circular",
    ),
    Stall(
        "store stopped",
        lambda ward: ward.hvsim("fault", "stall", "xenstored"),
        *("xenstored", "stopped"),
        r"xenstored \(pid \d+\) is stopped \(SIGSTOP\) since .*; whoever asks the store waits",
        r"hvsim fault resume xenstored",
    ),
    Stall(
        "toolstack stopped",
        lambda ward: ward.hvsim("fault", "stall", "toolstack"),
        *("toolstack", "stopped"),
        r"toolstack \(pid \d+\) is stopped \(SIGSTOP\) since .*; no domain is made or ended",
        r"hvsim fault resume toolstack",
    ),
    Stall(
        "link down",
        lambda ward: ward.rule("web/eth0", "link=down"),
        *("rule {rule}", "rule"),
        r"web/eth0: its link is down; rule {rule} \(web/eth0 link=down\) has it so",
        r"hvsim fault remove {rule}",
        ("web",),
    ),
    Stall(
        "slow disk",
        lambda ward: ward.rule("web/xvda", "media=slow", "by=60s"),
        *("rule {rule}", "rule"),
        r"blkback in storage \(domain \d+\) has 1 request unanswered since .*; rule {rule} "
        r"\(web/xvda media=slow by=60s\) has it so, and has fired once",
        r"hvsim fault remove {rule}",
        ("web",),
    ),
    Stall(
        "paused domain",
        lambda ward: ward.hvsim("xl", "pause", "storage"),
        *("storage", "paused"),
        r"blkback in storage \(domain \d+\) has 1 request unanswered.*; it is paused; web waits",
        r"hvsim xl unpause storage",
        ("web",),
    ),
    Stall(
        "fault rule active",
        lambda ward: ward.rule("web/xvda", "answer=never", "times=1"),
        *("rule {rule}", "rule"),
        r"blkback in storage \(domain \d+\) has 1 request unanswered since .*; rule {rule} "
        r"\(web/xvda answer=never times=1\) has it so, and has fired once",
        r"hvsim fault remove {rule}",
        ("web",),
    ),
    Stall(
        "grant not released",
        held,
        *("rule {rule}", "rule"),
        r"storage \(domain \d+\) has \d+ pages? of .* mapped, which is dead, and cannot go.*; rule "
        r"{rule} \(dying/xvda grant=hold\) has it so",
        r"hvsim fault remove {rule}",
    ),
    Stall(
        "restart loop",
        looped,
        *("rule {rule}", "rule"),
        r"rule {rule} \(fragile process=restart-loop in=100ms\) stands since .*, and has fired "
        r"\d+ times",
        r"hvsim fault remove {rule}",
    ),
]


def fits(stall: Stall, row: DoctorRow, ward: Ward) -> bool:
    """Whether the first finding is the stall's."""
    number = str(ward.numbers[-1]) if ward.numbers else ""
    if not row["findings"]:
        return False
    first = row["findings"][0]
    return (
        (first["culprit"], first["what"]) == (stall.culprit.replace("{rule}", number), stall.what)
        and re.search(stall.says.replace("{rule}", number), first["text"]) is not None
        and re.search(stall.cure.replace("{rule}", number), first["cure"]) is not None
        and set(stall.behind) <= set(first["behind"])
        and first["severity"] == "stuck"
    )
