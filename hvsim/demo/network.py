"""The demo's second part: one request crosses two vifs and a disk, and goes on when both domains
that carry it are killed.

    client --HTTP--> web-frontend --TCP--> db-primary --SQLite--> its disk

Every frame passes the network driver domain, every commit the storage domain. The client's log
says which commits it was told of, over one TCP connection; the database's image says which are
there.
"""

import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

from domains.guests.verify import verify
from hvsim import TREE
from hvsim.demo.acknowledgements import Acknowledgements
from hvsim.demo.network_result import NetworkResult, Outage
from hvsim.demo.tell import Teller, walls_missing
from hvsim.demo.watch import Vbd, connected_elsewhere
from hvsim.errors import HvsimError
from hvsim.faults.now import inject
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.leftovers import Witness, left, witnessed
from hvsim.lab.load import load
from hvsim.lab.model import Domain, Lab
from hvsim.lab.undo import UpError
from hvsim.lab.up import Running, bring_up
from hvsim.observe.evidence import gather
from hvsim.wire.control import Ps, Xl
from hvsim.xs.blocking import SocketStore

DEFAULT_LAB = Path(TREE) / "configs" / "three-tier.toml"
CLIENT, WEB, DATABASE = (f"domains.guests.{name}:main" for name in ("client", "web", "server"))
COMMIT_TIMEOUT = 30.0
"""Seconds without any new answer after which the client counts as stuck; TCP waits longer and
longer before it sends again what nobody took."""
RECOVERY_TIMEOUT = 30.0
SHUTDOWN_TIMEOUT = 20.0
COMMITS_BETWEEN = 20
_IMPOSSIBLE = re.compile(r"^.*this machine (?:does not allow|allows no network link).*$", re.M)
"""What a domain says that cannot have a network link here (NoLink of `hvsim.drivers.net.link`)."""


def tell_network(teller: Teller, seed: int, lab_file: Path = DEFAULT_LAB) -> NetworkResult:
    """Run it; the result says whether all is well.

    The lab is gone afterwards, whatever happens. Raises HvsimError when it cannot be brought up.
    """
    lab = load(lab_file)
    if lab_file == DEFAULT_LAB:
        lab = lab.with_what_there_is()  # as in the first story
    result = NetworkResult(lab.name)
    teller.chapter(f"A request across network and disk: {lab.file.name}")
    begun = time.monotonic()
    try:
        running = bring_up(
            lab,
            say=lambda line: teller.block([f"{time.monotonic() - begun:6.3f} s  {line}"]),
            gather=gather,
        )
    except UpError as failed:
        why = _IMPOSSIBLE.search(str(failed))
        if why is None:
            raise
        result.impossible = why[0].strip()
        teller.block([result.impossible])
        return result
    result.up_seconds = running.seconds
    teller.block([f"ready after {running.seconds:.2f} s", *walls_missing(running)])
    witness = Witness(running.run)
    with (
        witnessed(running, witness, lambda: _down(running, witness, result, teller)),
        _Story.open(teller, result, running, seed) as story,
    ):
        witness.look()
        story.the_way()
        story.kill_both()
        witness.look()
        story.shut_down()
        story.judge()
    return result


def _down(running: Running, witness: Witness, result: NetworkResult, teller: Teller) -> None:
    """The lab goes; then what is left is looked for."""
    running.down()
    result.leftovers = witness.leftovers()
    teller.block(
        [
            f"the lab is down; {len(witness.seen)} processes, {len(witness.namespaces)} network "
            f"namespaces, links, sockets: {left(result.leftovers)}"
        ]
    )


class _Story:
    """The middle: a running lab and what is done to it."""

    def __init__(
        self,
        teller: Teller,
        result: NetworkResult,
        running: Running,
        seed: int,
        control: Control,
        store: SocketStore,
    ) -> None:
        self.teller = teller
        self.result = result
        self.running = running
        self.dice = random.Random(seed)
        self.control = control
        self.store = store
        self.client, self.web, self.database = (
            _who(running.lab, program) for program in (CLIENT, WEB, DATABASE)
        )
        self.network = _server_of(running.lab, self.client.vifs[0].backend)
        self.storage = _server_of(running.lab, self.database.disks[0].backend)
        self.log = running.run.console / f"{self.client.name}.log"
        self.acks = Acknowledgements(self.log)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, teller: Teller, result: NetworkResult, running: Running, seed: int
    ) -> Iterator["_Story"]:
        """Hold a conversation with toolstack and store meanwhile."""
        with running.control() as control, running.store("DEMO") as store:
            yield cls(teller, result, running, seed, control, store)

    def the_way(self) -> None:
        """The interfaces, and the first answers."""
        answer = self.control.request(Xl(["network-list", self.client.name]))
        self.teller.block(answer.out.rstrip("\n").split("\n"))
        self.teller.line()
        self.teller.block(
            [
                f"{self.client.name} --HTTP--> {self.web.name} --TCP--> {self.database.name} "
                "--SQLite--> its disk",
                f"every frame passes {self.network}, every commit {self.storage}",
            ]
        )
        if self._wait_commits(COMMITS_BETWEEN):
            self.teller.block(
                [f"{len(self.acks.numbers)} requests answered with a commit, and going on"]
            )

    def kill_both(self) -> None:
        """Each of the two driver domains dies once, in the middle of requests."""
        for name, kind in ((self.network, "vif"), (self.storage, "vbd")):
            if self.result.failure:
                return
            time.sleep(self.dice.uniform(0.05, 0.2))
            self.result.wanted_outages += 1
            self._kill(name, kind)

    def _kill(self, name: str, kind: str) -> None:
        devices = self._devices(name, kind)
        before = {device: device.backend(self.store) for device in devices}
        self.acks.read()
        outage = Outage(name)
        self.result.outages.append(outage)
        began = time.monotonic()
        old = inject(self.running.run, "kill", name)
        while (now := time.monotonic() - began) < RECOVERY_TIMEOUT:
            if all(connected_elsewhere(self.store, one, before[one]) for one in devices):
                outage.back_ms = now * 1000
                break
            time.sleep(0.002)
        else:
            self.result.failure = (
                f"{name}'s devices were not all Connected again within {RECOVERY_TIMEOUT:g} s"
            )
            return
        if not self._wait_commits(1):
            return
        outage.gap_ms = (time.monotonic() - began) * 1000
        self.teller.block(
            [
                f"  SIGKILL to {name} (domain {old['domid']}): its {len(devices)} devices are "
                f"Connected again after {outage.back_ms:.0f} ms,",
                f"  and the client's next commit is acknowledged, over the same TCP connection, "
                f"after {outage.gap_ms:.0f} ms",
            ]
        )
        self._wait_commits(COMMITS_BETWEEN)

    def _devices(self, server: str, kind: str) -> list[Vbd]:
        """The devices of that kind that a driver domain serves."""
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
        return found

    def _wait_commits(self, more: int) -> bool:
        if self.acks.wait_for(self.acks.read() + more, COMMIT_TIMEOUT, self._alive):
            return True
        why = "".join(f"; {one.text}" for one in Inquiry(self.running.run).everybody())
        self.result.failure = (
            f"{self.client.name} was told of no commit for {COMMIT_TIMEOUT:g} s{why}"
        )
        return False

    def _alive(self) -> bool:
        return self.running.run.running

    def shut_down(self) -> None:
        """The client first, so that every request is answered; then those behind it."""
        for domain in (self.client, self.web, self.database):
            with contextlib.suppress(ControlError):
                self.control.request(
                    Xl(["shutdown", "-w", domain.name]),
                    patience=SHUTDOWN_TIMEOUT,
                )
        self.result.connections_lost = _last_words(self.log)
        self.acks.read()
        self.result.acknowledged = len(set(self.acks.numbers))

    def judge(self) -> None:
        """Open the database's raw image with other software and compare."""
        lab = self.running.lab
        target = self.database.disks[0].target
        images = lab.image_paths(self.running.run.images)
        found = verify(Path(images.get(target, str(self.database.directory / target))))
        result = self.result
        result.found, result.integrity = found.batches, found.integrity
        result.lost = found.lost(self.acks.numbers)
        self.teller.block(
            [
                f"commits that the client was told of  {result.acknowledged}",
                f"commits found on the disk            {result.found}",
                f"integrity_check                      {result.integrity}",
                f"TCP connections lost                 {result.connections_lost}",
            ]
        )


def _who(lab: Lab, program: str) -> Domain:
    for domain in lab.domains:
        if domain.program == program:
            return domain
    raise HvsimError(f"{lab.file}: the demo needs a domain with program = {program!r}")


def _server_of(lab: Lab, name: str | None) -> str:
    """A driver domain that comes back by itself."""
    for domain in lab.domains:
        if domain.name == name and domain.restart == "always":
            return domain.name
    raise HvsimError(
        f'{lab.file}: the demo needs devices served by a domain with role = "driver" and '
        f'restart = "always", not by {name or "dom0"}'
    )


def _last_words(log: Path, patience: float = 2.0) -> int | None:
    """How many connections the client lost, as it says at its end."""
    deadline = time.monotonic() + patience
    while True:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        match = re.search(r"requests answered, (\d+) connections lost", text)
        if match is not None or time.monotonic() > deadline:
            return int(match[1]) if match is not None else None
        time.sleep(0.01)
