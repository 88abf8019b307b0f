"""From facts to findings: each cause once, with all that waits behind it, the worst first.  Pure.

A device that does not go on is explained by the first of: who stands still, a rule that has fired,
somebody further on for whom its server waits, and last its own two halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvsim.observe.diagnosis import grants, graph, ledger, pairs, rules, standing
from hvsim.observe.diagnosis.cause import RANK, STUCK, Cause, lasting
from hvsim.observe.diagnosis.host import BACK, BOTH, FRONT, NOBODY, Host

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.facts import Facts, StandingRule
    from hvsim.observe.diagnosis.pairs import Symptom
    from hvsim.observe.diagnosis.rows import EdgeRow, FindingRow
    from hvsim.wire.picture import DeviceRow

_NEEDED = ("handshake", "circle", "closed", "frontend-gone")
"""Symptoms of a handshake, which goes through the store."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    host: Host
    findings: list[FindingRow]
    edges: list[EdgeRow]
    symptoms: dict[str, Symptom]


def examine(facts: Facts) -> Diagnosis:
    """All there is to be said."""
    return _Examination(Host(facts)).done()


class _Examination:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.still: dict[str, Cause] = {}
        for one in standing.causes(host):
            self.still.setdefault(one.culprit, one)
        self.rules = rules.causes(host)
        self.own: list[Cause] = []
        self.sick: list[tuple[DeviceRow, Symptom]] = []
        self.edges: list[EdgeRow] = []
        self.up: list[EdgeRow] = []  # of those, a guest that waits for who serves it

    def done(self) -> Diagnosis:
        host = self.host
        if host.facts.ended:
            return self._of_the_dead()
        for device in host.devices():
            found = pairs.symptom(host, device)
            if found is not None:
                self.sick.append((device, found))
            self._connect(device, found)
        for device, found in self.sick:
            self._explain(device, found)
        self._circles()
        for one in ledger.quotas(host):
            self._unless_a_rule("quota", one)
        names = {host.meant(rule) for rule in self._looping() if rule["fired"]}
        self.own += [one for one in ledger.loops(host) if one.culprit not in names]
        self._grants()
        by_rules = self._rules_left()  # which takes from those that stand still
        causes = [*self.still.values(), *self.own, *by_rules]
        for one in causes:
            self._weigh(one)
        causes.sort(key=lambda one: (RANK[one.severity], -len(one.behind), -len(one.devices)))
        symptoms = {host.label(device): found for device, found in self.sick}
        return Diagnosis(host, [one.finding() for one in causes], self.edges, symptoms)

    # -- devices -----------------------------------------------------------------------------

    def _connect(self, device: DeviceRow, found: Symptom | None) -> None:
        host = self.host
        front, server = host.front(device), host.server(device)
        still = self.still.get(server)
        if still is not None and (found is None or found.turn in (BACK, BOTH)):
            self._edge(front, server, device, still.is_so.removeprefix("it "), up=True)
            self._hold(still, device, found)
        elif found is not None:
            if found.turn in (BACK, BOTH):
                self._edge(front, server, device, found.why, up=True)
            if found.turn in (FRONT, BOTH):
                self._edge(server, front, device, found.why, up=False)

    def _edge(self, who: str, on: str, device: DeviceRow, why: str, *, up: bool) -> None:
        edge: EdgeRow = {"who": who, "on": on, "device": self.host.label(device), "why": why}
        self.edges.append(edge)
        if up:
            self.up.append(edge)

    def _explain(self, device: DeviceRow, found: Symptom) -> None:
        host = self.host
        front, server = host.front(device), host.server(device)
        culprits = {FRONT: [front], BACK: [server], BOTH: [server, front], NOBODY: []}[found.turn]
        if found.what in _NEEDED:
            culprits += ["xenstored"]
            if device["backend_state"] in (None, 0, 1):
                culprits += ["toolstack"]
        for name in culprits:
            if name in self.still:
                self._hold(self.still[name], device, found)
                return
        for rule in host.facts.rules:
            if rules.blamed(rule, found.what) and host.about(rule, device):
                self._hold(self.rules[rule["number"]], device, found)
                return
        if found.turn == BACK and any(edge["who"] == server for edge in self.up):
            return  # its server waits itself: the cause is further on
        cause = pairs.cause(host, device, found)
        for one in self.own:
            if (one.culprit, one.what) == (cause.culprit, cause.what):
                self._hold(one, device, found)
                return
        self.own.append(cause)
        self._waits_for(cause, device, found)

    def _hold(self, cause: Cause, device: DeviceRow, found: Symptom | None) -> None:
        label = self.host.label(device)
        if label in cause.devices:
            return
        cause.devices[label] = None
        cause.severity = STUCK
        cause.evidence += pairs.evidence(self.host, device)
        self._waits_for(cause, device, found)
        cause.unanswered += found.unanswered if found is not None else device["unanswered"] or 0
        if not cause.subject:
            cause.subject = self.host.backend(device)
            if cause.what == "rule" and found is not None and found.unanswered:
                cause.since = found.since  # of the requests, which may be younger than the rule
        if found is not None and not cause.unanswered and cause.rule and cause.what == "rule":
            cause.says = f"{label}: {found.why}{lasting(found.since)}; {cause.is_so}"

    def _waits_for(self, cause: Cause, device: DeviceRow, found: Symptom | None) -> None:
        waits = found is not None and found.turn == FRONT and found.what != "bell-lost"
        cause.behind[self.host.server(device) if waits else self.host.front(device)] = None

    def _circles(self) -> None:
        """Domains that serve each other, and wait."""
        blamed = {
            device
            for one in (*self.still.values(), *self.rules.values(), *self.own)
            for device in one.devices
        }
        for ring in graph.circles(self.up):
            if blamed.intersection(edge["device"] for edge in ring):
                continue
            path = ", ".join(f"{edge['who']} waits for {edge['on']}" for edge in ring)
            cause = Cause(ring[0]["who"], "circle", "", "", "", severity=STUCK)
            cause.says = f"they wait for each other in a circle: {path}"
            cause.cure = f"hvsim xl reboot {ring[0]['who']} breaks it"
            cause.devices |= {edge["device"]: None for edge in ring}
            cause.evidence += [f"{edge['device']}: {edge['why']}" for edge in ring]
            self.own.append(cause)

    # -- the rest ----------------------------------------------------------------------------

    def _unless_a_rule(self, setting: str, cause: Cause) -> None:
        for rule in self.host.facts.rules:
            if setting in rule["settings"] and rule["fired"]:
                blamed = self.rules[rule["number"]]
                blamed.severity, blamed.says = STUCK, _because(cause, blamed)
                blamed.behind[cause.culprit] = None
                blamed.evidence += cause.evidence
                return
        self.own.append(cause)

    def _grants(self) -> None:
        for cause in grants.causes(self.host):
            still, rule = self.still.get(cause.culprit), self._keeps(cause)
            if rule is not None:
                rule.says = _because(cause, rule)
                rule.severity, rule.since = cause.severity, cause.since
            elif still is not None:
                still.evidence.append(cause.says)
                still.severity = STUCK
            else:
                self.own.append(cause)

    def _keeps(self, cause: Cause) -> Cause | None:
        """The rule that has a domain keep pages."""
        row = None if cause.domid is None else self.host.domains.get(cause.domid)
        for rule in self.host.facts.rules:
            keeps = rule["settings"].get("grant") == "hold" and rule["fired"]
            if keeps and row is not None and row["uuid"] in (rule["domain"], rule["peer"]):
                return self.rules[rule["number"]]
        return None

    def _looping(self) -> list[StandingRule]:
        rows = self.host.facts.rules
        return [row for row in rows if row["settings"].get("process") == "restart-loop"]

    def _rules_left(self) -> list[Cause]:
        """Those that no other cause has told of already; who dies by one is told of with it."""
        for row in self._looping():
            dead = self.still.get(self.host.meant(row))
            if row["fired"] and dead is not None and dead.what in standing.DEAD:
                del self.still[dead.culprit]
                rule = self.rules[row["number"]]
                rule.evidence += [dead.text, *dead.evidence]
                rule.severity, rule.hurt = STUCK, dead.hurt
                rule.behind |= dead.behind
                rule.devices |= dead.devices
        told = {one.rule for one in self.still.values()}
        return [one for number, one in self.rules.items() if number not in told]

    def _weigh(self, cause: Cause) -> None:
        if cause.hurt:
            cause.severity = STUCK
        names = [cause.culprit] if cause.what != "rule" else list(cause.behind)
        for name in names:
            cause.behind |= dict.fromkeys(graph.behind(self.up, name))

    def _of_the_dead(self) -> Diagnosis:
        text = self.host.facts.ended
        cause = Cause("hypervisor", "dead", "", text, "hvsim up starts the lab anew")
        cause.severity = STUCK
        cause.evidence += [one["text"] for one in self.host.facts.picture["troubles"]]
        return Diagnosis(self.host, [cause.finding()], [], {})


def _because(found: Cause, rule: Cause) -> str:
    """What was found, and the rule that has it so."""
    return f"{found.says}{lasting(found.since)}; {rule.is_so}"
