"""The demo's first part: a scenario that is told while it runs, to a person."""

import contextlib
import time
from collections.abc import Mapping, Sequence

from domains.guests.verify import Verdict
from hvsim.demo.result import Kill, Result
from hvsim.demo.stage import DEFAULT_LAB, Options, staged
from hvsim.demo.tell import Teller, half, kill_story, verdict, walls_missing
from hvsim.demo.watch import Recovery, Vbd, disks_of
from hvsim.errors import HvsimError
from hvsim.faults.scenario.clock import Clock
from hvsim.faults.scenario.history import History
from hvsim.faults.scenario.judge import Judge
from hvsim.faults.scenario.model import Act, Phase
from hvsim.faults.scenario.onlooker import Onlooker
from hvsim.faults.scenario.run import run
from hvsim.lab.control import Control
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.leftovers import Witness, left
from hvsim.lab.model import Domain
from hvsim.lab.up import Running
from hvsim.wire.control import Xl
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreError, StoreNotFound

__all__ = ["DEFAULT_LAB", "Options", "tell"]

RECOVERY_TIMEOUT = 30.0
COMMIT_TIMEOUT = 15.0
"""Seconds without any new commit after which the database counts as stuck."""
_TICK = 0.002
_ALIVE = 0.25
"""Seconds between two looks whether the database's domain is there."""


def tell(options: Options, teller: Teller) -> Result:
    """Run the demo; the result says whether all is well.

    The lab is gone afterwards, whatever happens. Raises HvsimError when the lab cannot be
    brought up or is not one for this demo.
    """
    scenario, database, storage = staged(options)
    lab = scenario.lab
    result = Result(options.seed, lab.name, wanted_kills=options.kills)
    teller.chapter(f"A Xen host comes up: {lab.file.name}, {len(lab.domains)} domains and dom0")
    story = _Story(options, teller, result, database, storage)
    with story.conversations:
        run(scenario, options.seed, "hvsim demo", story.say, onlooker=story)
    return result


class _Story(Onlooker):
    """Looks on, measures, and tells."""

    control: Control
    store: SocketStore
    running: Running
    witness: Witness
    history: History

    def __init__(
        self, options: Options, teller: Teller, result: Result, database: Domain, storage: Domain
    ) -> None:
        self.options = options
        self.teller = teller
        self.result = result
        self.database = database
        self.storage = storage
        self.conversations = contextlib.ExitStack()
        self.domid = -1
        self._begun = time.monotonic()
        self._phases = 0
        self._kill: _Death | None = None
        self._seen = (0, time.monotonic())
        self._asked = 0.0

    def say(self, line: str) -> None:
        """How the lab comes up is told as it is said; the rest in the story's own words."""
        if self.domid < 0:
            self.teller.block([f"{time.monotonic() - self._begun:6.3f} s  {line}"])

    def ready(self, running: Running, seen: Witness, histories: Mapping[str, History]) -> None:
        """It is up: xl list, and the store of one device pair."""
        self.running, self.witness = running, seen
        self.history = histories[self.database.name]
        self.domid = running.domids[self.database.name]
        self.control = self.conversations.enter_context(running.control())
        self.store = self.conversations.enter_context(running.store("DEMO"))
        self.result.up_seconds = running.seconds
        self.teller.block(
            [
                f"ready after {running.seconds:.2f} s: every device Connected, every guest healthy",
                *walls_missing(running),
            ]
        )
        self._household()

    def _household(self) -> None:
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

    # -- while it runs -------------------------------------------------------------------------

    def phase(self, phase: Phase) -> None:
        """The first two are chapters."""
        self._phases += 1
        if self._phases == 1:
            often = "once" if self.options.kills == 1 else f"{self.options.kills} times"
            self.teller.chapter(
                f"{self.database.name} commits transactions; {self.storage.name} is killed "
                f"{often} (seed {self.options.seed})"
            )
        elif self._phases == 2:
            said = f"{len(self.history.commits)} commits acknowledged, and going on"
            self.teller.block([said])

    def acting(self, act: Act) -> None:
        """A kill is watched."""
        if act.what != "kill":
            return
        self.witness.look()
        disks = self._disks()
        if not disks or disks[0].domid != self.domid:
            self._fail(f"{self.database.name} has lost its disk of {self.storage.name}")
        self._kill = _Death(Recovery(self.store, disks))
        self.result.kills.append(self._kill.row)
        self._kill.recovery.begin()

    def _disks(self) -> list[Vbd]:
        """The disks that the storage domain serves, the database's first."""
        disks = []
        for domain in sorted(self.running.lab.domains, key=lambda one: one is not self.database):
            domid = self.running.domids[domain.name]
            served = {disk.vdev for disk in domain.disks if disk.backend == self.storage.name}
            disks += [
                disk for disk in disks_of(self.store, domain.name, domid) if disk.label in served
            ]
        return disks

    def rest(self, clock: Clock, seconds: float) -> None:
        """Not as long as it might be, so that what is measured is."""
        if self._kill is not None and self._kill.recovery.waiting:
            self._kill.recovery.poll(_TICK)
        else:
            clock.sleep(min(seconds, _TICK))

    def settled(self) -> bool:
        """The database goes on, and what was killed is back. Raises HvsimError."""
        self._must_go_on()
        kill = self._kill
        if kill is None:
            return True
        number, first = len(self.result.kills), kill.recovery.first
        if kill.row.recovery_ms is None or kill.recovery.missing(self._exists):
            if kill.recovery.seconds > RECOVERY_TIMEOUT:
                late = (kill.recovery.waiting or [first])[0]
                self._fail(
                    f"{late.domain} {late.label} was not Connected again within "
                    f"{RECOVERY_TIMEOUT:g} s of kill {number}"
                )
            if kill.row.recovery_ms is None:
                return False
        commits = len(self.history.commits)
        if kill.commits is None:
            kill.commits = commits
        if kill.row.commit_gap_ms is None and commits > kill.commits:
            kill.row.commit_gap_ms = kill.recovery.seconds * 1000
            self._tell_kill(kill.row, number, f"{first.domain} {first.label}")
        if kill.row.commit_gap_ms is None or kill.recovery.waiting:
            return False
        kill.recovery.end()
        self._kill = None
        return True

    def _must_go_on(self) -> None:
        count, now = len(self.history.commits), time.monotonic()
        if count > self._seen[0]:
            self._seen = count, now
        if now - self._asked < _ALIVE:
            return
        self._asked = now
        if not self._exists(self.domid):
            self._fail(f"{self.database.name} commits no more (its domain is gone)")
        if now - self._seen[1] > COMMIT_TIMEOUT:
            why = "".join(f"; {one.text}" for one in Inquiry(self.running.run).everybody())
            self._fail(f"{self.database.name} commits no more (none for {COMMIT_TIMEOUT:g} s{why})")

    def _exists(self, domid: int) -> bool:
        try:
            return self.running.run.running and self.store.exists(f"/local/domain/{domid}")
        except StoreError:
            return False

    def _fail(self, why: str) -> None:
        """Raises: HvsimError: nothing more is done to the lab."""
        self.result.failure = why
        raise HvsimError(why)

    def _tell_kill(self, kill: Kill, number: int, disk: str) -> None:
        if self.options.kills == 1:
            self.teller.block(kill_story(kill, disk))
            return
        commits = len(self.history.commits)
        self.teller.counter(
            f"kill {number} of {self.options.kills}: back after "
            f"{kill.recovery_ms:.0f} ms, {commits} commits"
        )
        if number % 10 == 0:
            self.teller.counter_done()
            self.teller.block(
                [
                    f"{number} kills: last back after {kill.recovery_ms:.0f} ms "
                    f"as domain {kill.new_domid}, {commits} commits"
                ]
            )

    # -- afterwards ----------------------------------------------------------------------------

    def over(self) -> None:
        """The guests are asked to end."""
        self.teller.counter_done()
        self.teller.block([f"{len(self.history.commits)} commits acknowledged so far"])
        with contextlib.suppress(StoreError):
            self.witness.look(self._terminals())
        self.teller.chapter(
            f"xl shutdown -w {self.database.name}, then its image is judged from outside"
        )

    def judged(self, judge: Judge) -> None:
        """What its checkers found."""
        result = self.result
        result.orderly = self.history.orderly
        result.acknowledged = len(set(self.history.commits))
        for check, problems in judge.verdicts.items():
            if check not in ("acts", "commits"):  # of which the result speaks itself
                result.unsound += problems
        found = judge.found.get(self.database.name)
        if found is not None:
            self._compare(found)
        verdict(result, lambda text: self.teller.block([text]))

    def _compare(self, found: Verdict) -> None:
        result = self.result
        result.found = found.batches
        result.integrity = found.integrity
        result.lost = found.lost(self.history.commits)
        for name, numbers in (
            ("missing commits", found.missing_batches),
            ("torn commits", found.partial_batches),
            ("missing rows", found.missing_seqs),
            ("damaged rows", found.damaged_seqs),
        ):
            if numbers:
                result.unsound.append(f"{len(numbers)} {name} (first: {numbers[0]})")

    def down(self, running: Running) -> None:
        """The lab goes, in its own words."""
        self.conversations.close()
        self.teller.chapter("The lab goes down")
        running.down(say=lambda line: self.teller.block([line]))

    def gone(self, seen: Witness) -> Sequence[str]:
        """What is left is looked for."""
        self.result.leftovers = seen.leftovers()
        self.teller.block(
            [
                f"{len(seen.seen)} processes seen in its life, {len(seen.terminals)} terminals, "
                f"run directory, sockets, shared memory: {left(self.result.leftovers)}"
            ]
        )
        return self.result.leftovers


class _Death:
    """One, and what has come of it so far.

    Attributes:
        commits: acknowledged when the database's disk was back.
    """

    def __init__(self, recovery: Recovery) -> None:
        self.recovery = recovery
        self.row = recovery.kill
        self.commits: int | None = None
