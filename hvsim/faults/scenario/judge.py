"""Everything that is checked in a run, whatever was broken: the safety of a host."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from domains.guests.verify import verify
from hvsim.errors import HvsimError
from hvsim.faults.checkers.alive import alive
from hvsim.faults.checkers.closings import closings
from hvsim.faults.checkers.durability import durable
from hvsim.faults.checkers.foreign import foreign
from hvsim.faults.checkers.grants import grants
from hvsim.faults.checkers.handshakes import handshakes
from hvsim.faults.checkers.linearizable import linearizable
from hvsim.faults.checkers.operations import operations
from hvsim.faults.checkers.secrets import secrets
from hvsim.faults.checkers.sizes import sizes
from hvsim.faults.checkers.verdict import Verdict
from hvsim.faults.scenario.history import GOODBYE
from hvsim.lab.answers import ControlError
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.store import open_store
from hvsim.observe.handshakes import devices, records
from hvsim.wire.control import Xl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from domains.guests.verify import Verdict as Found
    from hvsim.faults.scenario.clock import Clock
    from hvsim.faults.scenario.history import Follower, History
    from hvsim.faults.scenario.model import Scenario
    from hvsim.faults.scenario.rows import RunActRow, RunCheckRow
    from hvsim.faults.scenario.witness import Witness
    from hvsim.lab.up import Running
    from hvsim.observe.handshakes import Row
    from hvsim.wire.picture import HoldingsRow

SHUTDOWN: Final = 15.0
"""Seconds that a guest has to end when it is asked to."""
MOST_REFUSED: Final = 8
"""Rules that could not be put in place, of the lab file and those whose time was over when somebody
looked: as far as they are told."""
SETTLE: Final = 3.0
"""Seconds in which consoles are logged whole, and pages of the dead are let go."""
_TICK: Final = 0.05


def check_row(name: str, verdict: Verdict, counts: bool) -> RunCheckRow:
    """What a checker said, for the reports."""
    return {
        "name": name,
        "held": verdict.held,
        "counts": counts,
        "judged": verdict.judged,
        "problems": list(verdict.problems),
    }


class Judge:
    """Of one run.

    Attributes:
        found: what is in the image that the commits of a client must be in, by the client's domain.
        verdicts: what was wrong, by the name of the check (`unchecked` of a scenario).
    """

    def __init__(self, scenario: Scenario, running: Running, witness: Witness) -> None:
        self._scenario = scenario
        self._running = running
        self._witness = witness
        self._before: dict[int, HoldingsRow] = {}
        self._checks: list[RunCheckRow] = []
        self.found: dict[str, Found] = {}
        self.verdicts: dict[str, tuple[str, ...]] = {}

    def before(self) -> None:
        """Look at what is there before anything is broken.  Raises: HvsimError."""
        self._before = self._witness.holdings()

    def after(
        self,
        clients: Sequence[Follower],
        clock: Clock,
        acts: Sequence[RunActRow],
        trouble: str,
    ) -> list[RunCheckRow]:
        """Look again, when all has healed, and judge everything."""
        self._acts(acts, trouble)
        try:
            self._enter("alive", "every guest is there", alive(self._guests()))
            self._shut_down(clients)
            self._settle(clock, lambda: all(self._read(clients)))
            self._settle(clock, lambda: self._destroyed(clients))
            self._enter("grants", "no grant leaks", self._settled_grants(clock))
            self._witness.read()
            seen = handshakes(self._witness.ledger, self._witness.gaps)
            self._enter("handshakes", "no step of a handshake breaks a rule", seen)
            self._enter("closings", "no device closes without a word", closings(self._devices()))
            self._enter("sizes", "every disk has its size", self._sizes())
            for client in clients:
                self._client(client.history)
        except HvsimError as wrong:
            self._enter("lab", "the lab can be asked", Verdict("", (str(wrong),)))
        return self._checks

    def _acts(self, acts: Sequence[RunActRow], trouble: str) -> None:
        gone = [f"{name}: there is no such domain" for name in self._scenario.expendable]
        failed = [
            f"{one['text']}: {one['trouble']}"
            for one in acts
            if one["trouble"] and not any(text in one["trouble"] for text in gone)
        ]
        if trouble:
            failed.append(f"the phases ended before their time: {trouble}")
        with contextlib.suppress(HvsimError):  # told as "the lab can be asked"
            self._witness.read()
        looked_at = {one["rule"] for one in acts if one["fired"] is not None or one["trouble"]}
        failed += [
            str(one["text"])
            for one in self._witness.ledger
            if one["kind"] == "fault.refused" and one["rule"] not in looked_at
        ][:MOST_REFUSED]
        verdict = Verdict(f"{len(acts)} acts", tuple(failed))
        self._enter("acts", "everything was done as planned", verdict)

    def _guests(self) -> dict[str, str]:
        """How each guest is that nobody was to kill: "" or how it has ended."""
        acts = [act for phase in self._scenario.phases for act in phase.acts]
        killed = {
            act.who
            for number, act in enumerate(acts)
            if number not in self._scenario.without
            and (act.what == "kill" or (act.rule is not None and act.rule.family.name == "process"))
        }
        expendable = self._scenario.expendable
        flags, domids = self._witness.flags(), self._running.domids
        found = {}
        for domain in self._scenario.lab.domains:
            if domain.is_driver or domain.name in killed | expendable or domain.name not in domids:
                continue
            state = flags.get(domids[domain.name])
            found[domain.name] = ""
            if state is None or state.get("shutdown") or state.get("dying"):
                how = "has crashed" if state and state.get("crashed") else "has ended"
                found[domain.name] = how + self._last_words(domain.name)
        return found

    def _last_words(self, name: str) -> str:
        with contextlib.suppress(OSError):
            log = self._running.run.console_log(name)
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            return f": {said[-1][:300]}" if said else ""
        return ""

    def _shut_down(self, clients: Sequence[Follower]) -> None:
        """Have every client end by itself, so that it has told all that it was told."""
        with self._running.control() as control:
            for client in clients:
                words = ["shutdown", "-w", client.history.domain]
                with contextlib.suppress(ControlError):
                    control.request(Xl(words), patience=SHUTDOWN)

    @staticmethod
    def _settle(clock: Clock, settled: Callable[[], bool]) -> None:
        deadline = clock.now() + SETTLE
        while not settled() and clock.now() < deadline:
            clock.sleep(_TICK)

    def _destroyed(self, clients: Sequence[Follower]) -> bool:
        """Whether the domains of the clients are no more, or on their way."""
        flags = self._witness.flags()
        domids = [self._running.domids.get(one.history.domain) for one in clients]
        return all(domid not in flags or flags[domid]["dying"] for domid in domids if domid)

    def _read(self, clients: Sequence[Follower]) -> list[bool]:
        for client in clients:
            client.read(client.history.told[-1] if client.history.told else 0.0)
        return [one.history.orderly or one.history.kind not in GOODBYE for one in clients]

    def _grants(self) -> Verdict:
        dying = [domid for domid, flags in self._witness.flags().items() if flags.get("dying")]
        return grants(self._before, self._witness.holdings(), dying)

    def _settled_grants(self, clock: Clock) -> Verdict:
        """One domain is asked after the other, while they work: what leaks is there each time."""
        verdict = Verdict("")

        def settled() -> bool:
            nonlocal verdict
            verdict = self._grants()
            return verdict.held

        self._settle(clock, settled)
        return verdict

    def _devices(self) -> dict[str, list[Row]]:
        """What the store's monitor has kept of each device; nothing when it is not our store."""
        if self._scenario.lab.store != BUILTIN:
            return {}
        try:
            with open_store(self._running.run) as store:
                return {row["device"]: records(store, row["device"]) for row in devices(store)}
        except OSError as failure:
            raise HvsimError(f"the store cannot be asked: {failure}") from None

    def _sizes(self) -> Verdict:
        """Of images that were made for this run, as the file says."""
        images = [one for one in self._scenario.lab.images if one.scratch and one.format == "raw"]
        folder = self._running.run.images
        made = {one.name: one.size for one in images if one.size}
        return sizes(made, {one.name: one.location(folder).stat().st_size for one in images})

    def _client(self, history: History) -> None:
        name = history.domain
        if history.lost and history.kind in ("commits", "registers", "secrets"):
            problem = "its console told more between two looks than is kept: have it tell less"
            self._enter(history.kind, f"{name}: its history is whole", Verdict("", (problem,)))
        elif history.kind == "commits":
            image = next(one.image for one in self._scenario.loads if one.domain == name)
            with self._running.control() as control, contextlib.suppress(ControlError):
                if image != name:
                    control.request(Xl(["shutdown", "-w", image]), patience=SHUTDOWN)
                elif not history.orderly:  # it does not answer: take it from its disk first
                    control.request(Xl(["destroy", name]))
            # What is told over a network may be on its way when its client ends.
            told = history.orderly and image == name
            found = self.found[name] = verify(self._image(image))
            verdict = durable(history.commits, found, orderly=told)
            self._enter("commits", f"{name}: nothing acknowledged is lost", verdict)
        elif history.kind == "registers":
            own = operations(history.events)
            self._enter("bytes", f"{name}: no stale or foreign byte", foreign(own))
            self._enter("registers", f"{name}: registers are linearizable", linearizable(own))
        elif history.kind == "secrets":
            verdict = secrets(history.secrets)
            self._enter("secrets", f"{name}: it learns nothing that it may not know", verdict)

    def _image(self, name: str) -> Path:
        domain = next(one for one in self._scenario.lab.domains if one.name == name)
        target = domain.disks[0].target
        images = self._scenario.lab.image_paths(self._running.run.images)
        return Path(images.get(target, str(domain.directory / target)))

    def _enter(self, check: str, name: str, verdict: Verdict) -> None:
        self.verdicts[check] = (*self.verdicts.get(check, ()), *verdict.problems)
        counts = check not in self._scenario.unchecked
        self._checks.append(check_row(name, verdict, counts))
