"""The demo from end to end. Everything in it goes through the public commands' own code."""

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from domains.guests.verify import Verdict, verify
from hvsim import TREE
from hvsim.demo.acknowledgements import Acknowledgements
from hvsim.demo.result import Kill, Result
from hvsim.demo.tell import Teller, half, kill_story, verdict, walls_missing
from hvsim.demo.watch import Recovery, Vbd, disks_of
from hvsim.errors import HvsimError
from hvsim.faults.now import inject
from hvsim.faults.of_lab import entering
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.leftovers import Witness, left, witnessed
from hvsim.lab.load import load
from hvsim.lab.model import Domain, Lab, LabFault
from hvsim.lab.up import Running, bring_up
from hvsim.observe.evidence import gather
from hvsim.wire.control import Xl
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreError, StoreNotFound

DEFAULT_LAB = Path(TREE) / "configs" / "two-tier.toml"
DATABASE = "domains.guests.database:main"
SABOTAGES = {
    "forget-unanswered": ("disks", {"ring": "forget", "half": "front"}),
    "drop-unflushed": ("storage", {"media": "lost-flush"}),
}
"""The negative controls: a rule of a fault, of each disk or of the storage domain."""

RECOVERY_TIMEOUT = 30.0
COMMIT_TIMEOUT = 15.0
"""Seconds without any new commit after which the database counts as stuck."""
SHUTDOWN_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    kills: int = 1
    seconds: float | None = None
    """How long the database commits in all; None: as long as the kills take."""
    seed: int = 0
    lab: Path = DEFAULT_LAB
    name: str | None = None
    sabotage: str | None = None
    store: str | None = None
    console: str | None = None
    """The daemons of dom0; None: those that the lab file names."""


def tell(options: Options, teller: Teller) -> Result:
    """Run the demo; the result says whether all is well.

    The lab is gone afterwards, whatever happens. Raises HvsimError when the lab cannot be
    brought up or is not one for this demo.
    """
    lab = load(options.lab, name=options.name, store=options.store, console=options.console)
    if options.lab == DEFAULT_LAB:
        # Its programs are ours, and a machine that allows few walls is to see it, too. It is told.
        lab = lab.with_what_there_is()
    database, storage = _cast(lab)
    lab = _broken(lab, options.sabotage, storage)
    result = Result(options.seed, lab.name, wanted_kills=options.kills)
    teller.chapter(f"A Xen host comes up: {lab.file.name}, {len(lab.domains)} domains and dom0")
    begun = time.monotonic()
    running = bring_up(
        lab,
        say=lambda line: teller.block([f"{time.monotonic() - begun:6.3f} s  {line}"]),
        gather=gather,
        before_start=entering(lab),
    )
    result.up_seconds = running.seconds
    teller.block(
        [
            f"ready after {running.seconds:.2f} s: every device Connected, every guest healthy",
            *walls_missing(running),
        ]
    )
    witness = Witness(running.run)
    with witnessed(running, witness, lambda: _down(running, witness, result, teller)):
        story = _Story(options, teller, result, running, witness, database, storage)
        with story.open():
            story.household()
            story.commits_and_kills()
            story.shut_down()
            story.judge()
    return result


def _broken(lab: Lab, sabotage: str | None, storage: Domain) -> Lab:
    """The lab with the rules of a negative control."""
    if sabotage is None:
        return lab
    target, words = SABOTAGES[sabotage]
    disks = [
        f"{domain.name}/{disk.vdev}"
        for domain in lab.domains
        for disk in domain.disks
        if disk.backend == storage.name
    ]
    targets = disks if target == "disks" else [storage.name]
    rules = tuple(LabFault(0, {"target": one, **words}) for one in targets)
    return replace(lab, faults=(*lab.faults, *rules))


def _cast(lab: Lab) -> tuple[Domain, Domain]:
    """The database and the driver domain that serves its disk."""
    for domain in lab.domains:
        if domain.program == DATABASE and domain.disks:
            for other in lab.domains:
                if other.name == domain.disks[0].backend and other.restart == "always":
                    return domain, other
    raise HvsimError(
        f"{lab.file}: the demo needs a domain with program = {DATABASE!r} whose disk is served "
        'by a domain with role = "driver" and restart = "always"; see configs/two-tier.toml'
    )


def _down(running: Running, witness: Witness, result: Result, teller: Teller) -> None:
    """The lab goes, in its own words; then what is left is looked for."""
    teller.chapter("The lab goes down")
    running.down(say=lambda line: teller.block([line]))
    result.leftovers = witness.leftovers()
    teller.block(
        [
            f"{len(witness.seen)} processes seen in its life, {len(witness.terminals)} terminals, "
            f"run directory, sockets, shared memory: {left(result.leftovers)}"
        ]
    )


class _Story:
    """The middle of the demo: a running lab and what is done to it."""

    def __init__(
        self,
        options: Options,
        teller: Teller,
        result: Result,
        running: Running,
        witness: Witness,
        database: Domain,
        storage: Domain,
    ) -> None:
        self.options = options
        self.teller = teller
        self.result = result
        self.running = running
        self.witness = witness
        self.database = database
        self.storage = storage
        self.domid = running.domids[database.name]
        self.dice = random.Random(options.seed)
        self.acks = Acknowledgements(running.run.console_log(database.name))
        self.control: Control
        self.store: SocketStore
        self.image = self._image()

    def _image(self) -> Path:
        target = self.database.disks[0].target
        images = self.running.lab.image_paths(self.running.run.images)
        return Path(images.get(target, str(self.database.directory / target)))

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Hold a conversation with toolstack and store."""
        with self.running.control() as self.control, self.running.store("DEMO") as self.store:
            yield

    def alive(self) -> bool:
        """Does the database's domain still run?"""
        return self._exists(self.domid)

    def _exists(self, domid: int) -> bool:
        try:
            return self.running.run.running and self.store.exists(f"/local/domain/{domid}")
        except StoreError:
            return False

    def household(self) -> None:
        """xl list, and the store of one device pair."""
        self.teller.chapter("The household: xl list")
        answer = self.control.request(Xl(["list"]))
        self.teller.block(answer.out.rstrip("\n").split("\n"))
        disk = disks_of(self.store, self.database.name, self.domid)[0]
        backend = disk.backend(self.store)
        self.teller.chapter(
            f"One device in the store, both halves: {disk.label} of "
            f"{self.database.name}, served by {self.storage.name}"
        )
        self.teller.block(half(self.store, disk.frontend))
        self.teller.line()
        self.teller.block(half(self.store, backend))
        self.witness.look(self._terminals())

    def _terminals(self) -> list[str]:
        found = []
        for domid in self.store.directory("/local/domain"):
            with contextlib.suppress(StoreNotFound):
                found.append(self.store.read(f"/local/domain/{domid}/console/tty"))
        return [path for path in found if path]

    def commits_and_kills(self) -> None:
        """The database commits; the storage domain is killed in the middle of it, again and
        again, at moments that the seed picks."""
        options, teller = self.options, self.teller
        teller.chapter(
            f"{self.database.name} commits transactions; {self.storage.name} is killed "
            f"{'once' if options.kills == 1 else f'{options.kills} times'} "
            f"(seed {options.seed})"
        )
        begun = time.monotonic()
        if not self._wait_commits(20):
            return
        teller.block([f"{len(self.acks.numbers)} commits acknowledged, and going on"])
        for number in range(options.kills):
            time.sleep(self._pause(begun, number))
            if not self._kill_once(number):
                break
        rest = (options.seconds or 0) - (time.monotonic() - begun)
        if rest > 0 and not self.result.failure:
            time.sleep(rest)
        if not self.result.failure:
            self._wait_commits(20)
        self.acks.read()
        teller.counter_done()
        teller.block([f"{len(self.acks.numbers)} commits acknowledged so far"])

    def _pause(self, begun: float, number: int) -> float:
        """Seconds until the next kill: anywhere in its share of the time."""
        if self.options.seconds is None:
            return self.dice.uniform(0.02, 0.30)
        share = self.options.seconds / (self.options.kills + 1)
        due = (number + self.dice.uniform(0.5, 1.5)) * share
        return max(0.0, begun + due - time.monotonic())

    def _wait_commits(self, more: int) -> bool:
        if self.acks.wait_for(self.acks.read() + more, COMMIT_TIMEOUT, self.alive):
            return True
        why = "its domain is gone" if not self.alive() else f"none for {COMMIT_TIMEOUT:g} s"
        why += "".join(f"; {one.text}" for one in Inquiry(self.running.run).everybody())
        self.result.failure = f"{self.database.name} commits no more ({why})"
        return False

    def _all_disks(self) -> list[Vbd]:
        """The disks that the storage domain serves, the database's first."""
        disks = []
        for domain in sorted(self.running.lab.domains, key=lambda one: one is not self.database):
            domid = self.running.domids[domain.name]
            served = {disk.vdev for disk in domain.disks if disk.backend == self.storage.name}
            disks += [
                disk for disk in disks_of(self.store, domain.name, domid) if disk.label in served
            ]
        return disks

    def _kill_once(self, number: int) -> bool:
        """Kill, watch the recovery, wait for the first commit after it; False: no way on."""
        self.witness.look()
        disks = self._all_disks()
        if not disks or disks[0].domid != self.domid:
            self.result.failure = f"{self.database.name} has lost its disk of {self.storage.name}"
            return False
        began = time.monotonic()
        recovery = Recovery(self.store, disks)
        kill = recovery.follow(
            lambda: inject(self.running.run, "kill", self.storage.name),
            timeout=RECOVERY_TIMEOUT,
            alive=self.alive,
        )
        self.result.kills.append(kill)
        if kill.recovery_ms is None:
            self.result.failure = (
                f"{disks[0].domain} {disks[0].label} was not Connected again within "
                f"{RECOVERY_TIMEOUT:g} s of kill {number + 1}"
            )
            if not self.alive():
                self.result.failure = f"{self.database.name} died of kill {number + 1}"
            return False
        if not self._wait_commits(1):
            return False
        kill.commit_gap_ms = (time.monotonic() - began) * 1000
        self._tell_kill(kill, number, f"{disks[0].domain} {disks[0].label}")
        missing = recovery.others(timeout=RECOVERY_TIMEOUT, exists=self._exists)
        if missing:
            self.result.failure = (
                f"{missing[0].domain} {missing[0].label} was not Connected "
                f"again within {RECOVERY_TIMEOUT:g} s of kill {number + 1}"
            )
        return not missing

    def _tell_kill(self, kill: Kill, number: int, disk: str) -> None:
        if self.options.kills == 1:
            self.teller.block(kill_story(kill, disk))
            return
        self.teller.counter(
            f"kill {number + 1} of {self.options.kills}: back after "
            f"{kill.recovery_ms:.0f} ms, {len(self.acks.numbers)} commits"
        )
        if (number + 1) % 10 == 0:
            self.teller.counter_done()
            self.teller.block(
                [
                    f"{number + 1} kills: last back after {kill.recovery_ms:.0f} ms "
                    f"as domain {kill.new_domid}, {len(self.acks.numbers)} commits"
                ]
            )

    def shut_down(self) -> None:
        """Ask the database to end in order, so that what it acknowledged is what it did."""
        self._ask_the_others()
        self.witness.look(self._terminals())
        self.teller.chapter(
            f"xl shutdown -w {self.database.name}, then its image is judged from outside"
        )
        with contextlib.suppress(ControlError):
            self.control.request(
                Xl(["shutdown", "-w", self.database.name]),
                patience=SHUTDOWN_TIMEOUT,
            )
        self.result.orderly = self.acks.wait_for_last_words(2.0)
        self.result.acknowledged = len(set(self.acks.numbers))

    def _ask_the_others(self) -> None:
        """The other guests check every byte that they read; one that is gone found a wrong one."""
        for domain in self.running.lab.domains:
            if domain.is_driver or domain is self.database:
                continue
            if not self._exists(self.running.domids[domain.name]):
                log = self.running.run.console_log(domain.name)
                lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
                said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
                self.result.unsound.append(f"{domain.name} ended; its last words: {said}")

    def judge(self) -> None:
        """Open the raw image with other software and compare."""
        if self.result.orderly or not self.alive():
            found = verify(self.image)
        else:
            # It does not answer: take it from its disk before anybody else looks at that.
            with contextlib.suppress(ControlError):
                self.control.request(Xl(["destroy", self.database.name]))
            found = verify(self.image)
        self._compare(found)
        verdict(self.result, lambda text: self.teller.block([text]))

    def _compare(self, found: Verdict) -> None:
        result = self.result
        result.found = found.batches
        result.integrity = found.integrity
        result.lost = found.lost(self.acks.numbers)
        for name, numbers in (
            ("missing commits", found.missing_batches),
            ("torn commits", found.partial_batches),
            ("missing rows", found.missing_seqs),
            ("damaged rows", found.damaged_seqs),
        ):
            if numbers:
                result.unsound.append(f"{len(numbers)} {name} (first: {numbers[0]})")
