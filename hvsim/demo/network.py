"""The demo's second part: one request crosses two vifs and a disk, and goes on when both domains
that carry it are killed.  It tells ``scenarios/demo-network.toml`` while that runs.

    client --HTTP--> web-frontend --TCP--> db-primary --SQLite--> its disk

Every frame passes the network driver domain, every commit the storage domain. The client's log
says which commits it was told of, over one TCP connection; the database's image says which are
there.
"""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hvsim import TREE
from hvsim.demo.network_result import NetworkResult, Outage
from hvsim.demo.tell import Teller, walls_missing
from hvsim.demo.watch import Vbd, connected_elsewhere
from hvsim.errors import HvsimError
from hvsim.faults.scenario.clock import Clock
from hvsim.faults.scenario.history import History
from hvsim.faults.scenario.judge import Judge
from hvsim.faults.scenario.load import load
from hvsim.faults.scenario.model import Act, Scenario
from hvsim.faults.scenario.onlooker import Onlooker
from hvsim.faults.scenario.run import run
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.leftovers import Witness, left
from hvsim.lab.undo import UpError
from hvsim.lab.up import Running
from hvsim.wire.control import Ps, Xl
from hvsim.xs.blocking import SocketStore

SCENARIO = Path(TREE) / "scenarios" / "demo-network.toml"
COMMIT_TIMEOUT = 30.0
"""Seconds without any new answer after which the client counts as stuck; TCP waits longer and
longer before it sends again what nobody took."""
RECOVERY_TIMEOUT = 30.0
_TICK = 0.002
_IMPOSSIBLE = re.compile(r"^.*this machine (?:does not allow|allows no network link).*$", re.M)
"""What a domain says that cannot have a network link here (NoLink of `hvsim.drivers.net.link`)."""


def tell_network(teller: Teller, seed: int) -> NetworkResult:
    """Run it; the result says whether all is well.

    The lab is gone afterwards, whatever happens. Raises HvsimError when it cannot be brought up.
    """
    told = load(SCENARIO)
    lab = told.lab.with_what_there_is()  # as in the first story
    scenario = replace(told, name=lab.file.stem, lab=replace(lab, name=lab.file.stem))
    result = NetworkResult(scenario.lab.name)
    teller.chapter(f"A request across network and disk: {lab.file.name}")
    story = _Story(teller, result, scenario)
    try:
        with story.conversations:
            run(scenario, seed, "hvsim demo --network", story.say, onlooker=story)
    except UpError as failed:
        why = _IMPOSSIBLE.search(str(failed))
        if why is None:
            raise
        result.impossible = why[0].strip()
        teller.block([result.impossible])
    return result


class _Story(Onlooker):
    """Looks on, measures, and tells."""

    control: Control
    store: SocketStore
    running: Running
    witness: Witness
    history: History

    def __init__(self, teller: Teller, result: NetworkResult, scenario: Scenario) -> None:
        self.teller = teller
        self.result = result
        self.client, self.database = scenario.loads[0].domain, scenario.loads[0].image
        self.network, self.storage = (
            act.who for phase in scenario.phases for act in phase.acts if act.what == "kill"
        )
        result.wanted_outages = 2
        self.conversations = contextlib.ExitStack()
        self._begun = time.monotonic()
        self._up = False
        self._outage: _Outage | None = None
        self._seen = (0, self._begun)
        self._going_on = False

    def say(self, line: str) -> None:
        """How the lab comes up is told as it is said; the rest in the story's own words."""
        if not self._up:
            self.teller.block([f"{time.monotonic() - self._begun:6.3f} s  {line}"])

    def ready(self, running: Running, seen: Witness, histories: Mapping[str, History]) -> None:
        """It is up: the interfaces, and the way of a request."""
        self._up = True
        self.running, self.witness = running, seen
        self.history = histories[self.client]
        self.control = self.conversations.enter_context(running.control())
        self.store = self.conversations.enter_context(running.store("DEMO"))
        self.result.up_seconds = running.seconds
        self.teller.block([f"ready after {running.seconds:.2f} s", *walls_missing(running)])
        self.witness.look()
        answer = self.control.request(Xl(["network-list", self.client]))
        self.teller.block(answer.out.rstrip("\n").split("\n"))
        self.teller.line()
        self.teller.block(
            [
                f"{self.client} --HTTP--> web-frontend --TCP--> {self.database} "
                "--SQLite--> its disk",
                f"every frame passes {self.network}, every commit {self.storage}",
            ]
        )
        self._seen = (0, time.monotonic())

    # -- while it runs -------------------------------------------------------------------------

    def acting(self, act: Act) -> None:
        """A kill is watched."""
        if not self._going_on:
            self._going_on = True
            said = f"{len(self.history.commits)} requests answered with a commit, and going on"
            self.teller.block([said])
        domid, devices = self._devices(act.who, "vif" if act.who == self.network else "vbd")
        self._outage = _Outage(act.who, domid, {one: one.backend(self.store) for one in devices})
        self.result.outages.append(self._outage.row)

    def _devices(self, server: str, kind: str) -> tuple[int, list[Vbd]]:
        """The devices of that kind that a driver domain serves, and its number."""
        domid = self.running.domids[server]
        with contextlib.suppress(ControlError):
            rows = self.control.data(Ps())["domains"]
            domid = next(int(row["domid"]) for row in rows if row["name"] == server)
        found = []
        for domain in self.running.lab.domains:
            guest = self.running.domids[domain.name]
            root = f"/local/domain/{guest}/device/{kind}"
            if not self.store.exists(root):
                continue
            for devid in self.store.directory(root):
                device = Vbd(domain.name, guest, f"{kind} {devid}", f"{root}/{devid}")
                if device.backend(self.store).startswith(f"/local/domain/{domid}/"):
                    found.append(device)
        return domid, found

    def rest(self, clock: Clock, seconds: float) -> None:
        """Not as long as it might be, so that what is measured is."""
        clock.sleep(min(seconds, _TICK))

    def settled(self) -> bool:
        """The client is told more, and what was killed is back.  Raises: HvsimError."""
        commits, now = len(self.history.commits), time.monotonic()
        if commits > self._seen[0]:
            self._seen = commits, now
        if now - self._seen[1] > COMMIT_TIMEOUT or not self.running.run.running:
            why = "".join(f"; {one.text}" for one in Inquiry(self.running.run).everybody())
            self._fail(f"{self.client} was told of no commit for {COMMIT_TIMEOUT:g} s{why}")
        outage = self._outage
        if outage is None:
            return True
        if outage.row.back_ms is None:
            if outage.seconds > RECOVERY_TIMEOUT:
                self._fail(
                    f"{outage.row.domain}'s devices were not all Connected again within "
                    f"{RECOVERY_TIMEOUT:g} s"
                )
            if not outage.back(self.store):
                return False
            outage.row.back_ms = outage.seconds * 1000
            outage.commits = commits
            return False
        if commits <= outage.commits:
            return False
        outage.row.gap_ms = outage.seconds * 1000
        self._outage = None
        self.teller.block(
            [
                f"  SIGKILL to {outage.row.domain} (domain {outage.domid}): its "
                f"{len(outage.before)} devices are Connected again after "
                f"{outage.row.back_ms:.0f} ms,",
                f"  and the client's next commit is acknowledged, over the same TCP connection, "
                f"after {outage.row.gap_ms:.0f} ms",
            ]
        )
        return True

    def _fail(self, why: str) -> None:
        """Raises: HvsimError: nothing more is done to the lab."""
        self.result.failure = why
        raise HvsimError(why)

    # -- afterwards ----------------------------------------------------------------------------

    def over(self) -> None:
        """What there is to be seen is seen."""
        self.witness.look()

    def judged(self, judge: Judge) -> None:
        """What its checkers found."""
        result = self.result
        result.connections_lost = _last_words(self.running.run.console_log(self.client))
        result.acknowledged = len(set(self.history.commits))
        for check, problems in judge.verdicts.items():
            if check not in ("acts", "commits"):  # of which the result speaks itself
                result.unsound += problems
        found = judge.found.get(self.client)
        if found is not None:
            result.found, result.integrity = found.batches, found.integrity
            result.lost = found.lost(self.history.commits)
        self.teller.block(
            [
                f"commits that the client was told of  {result.acknowledged}",
                f"commits found on the disk            {result.found}",
                f"integrity_check                      {result.integrity}",
                f"TCP connections lost                 {result.connections_lost}",
            ]
        )

    def down(self, running: Running) -> None:
        """The lab goes."""
        self.conversations.close()
        running.down()

    def gone(self, seen: Witness) -> Sequence[str]:
        """What is left is looked for."""
        self.result.leftovers = seen.leftovers()
        self.teller.block(
            [
                f"the lab is down; {len(seen.seen)} processes, {len(seen.namespaces)} network "
                f"namespaces, links, sockets: {left(self.result.leftovers)}"
            ]
        )
        return self.result.leftovers


class _Outage:
    """A death, and what has come of it so far.

    Attributes:
        before: where the backends of its devices were.
        commits: the client was told of when all were back.
    """

    def __init__(self, name: str, domid: int, before: dict[Vbd, str]) -> None:
        self.row = Outage(name)
        self.domid = domid
        self.before = before
        self.commits = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the death."""
        return time.monotonic() - self._began

    def back(self, store: SocketStore) -> bool:
        """Whether every device is Connected elsewhere."""
        return all(connected_elsewhere(store, one, old) for one, old in self.before.items())


def _last_words(log: Path) -> int | None:
    """How many connections the client lost, as it says at its end."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    match = re.search(r"requests answered, (\d+) connections lost", text)
    return int(match[1]) if match is not None else None
