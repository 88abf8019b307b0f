"""A cause while it is looked for: it gathers who waits behind it, and becomes a finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hvsim.observe.diagnosis.rows import FindingRow

STUCK: Final = "stuck"
SLOW: Final = "slow"
NOTE: Final = "note"
RANK: Final = {STUCK: 0, SLOW: 1, NOTE: 2}


@dataclass(eq=False)
class Cause:
    """One.

    Attributes:
        culprit: as commands take it.
        what: a word for it.
        is_so: what is wrong with him, in words that follow what he does not do.
        text: a sentence of its own, for when nobody waits.
        cure: a command.
        domid: of the culprit, when it is a domain.
        severity: `STUCK`, `SLOW` or `NOTE`; of one for whom nobody waits.
        hurt: what waits for him whatever devices there are, "" for nothing.
        rule: the number of the rule that is at the bottom of it.
        holds: what is held up: (who waits, the device, what of it), the devices once each.
        says: the sentence, when it is complete as it is (but for how long: a rule's has that too).
    """

    culprit: str
    what: str
    is_so: str
    text: str
    cure: str
    domid: int | None = None
    severity: str = NOTE
    hurt: str = ""
    rule: int | None = None
    since: float | None = None
    says: str = ""
    behind: dict[str, None] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    subject: str = ""
    unanswered: int = 0

    def finding(self) -> FindingRow:
        """As it is told."""
        return {
            "culprit": self.culprit,
            "what": self.what,
            "severity": self.severity,
            "text": self._text(),
            "cure": self.cure,
            "since": None if self.since is None else round(self.since, 3),
            "behind": list(self.behind),
            "devices": list(self.devices),
            "evidence": self.evidence,
        }

    def _text(self) -> str:
        since = lasting(self.since)
        if self.says:
            text = f"{self.says}{'' if self.what == 'rule' else since}"
        elif self.unanswered and self.subject:
            requests = counted(self.unanswered, "request")
            text = f"{self.subject} has {requests} unanswered{since}; {self.is_so}"
        else:
            text = f"{self.text}{'' if self.what == 'rule' else since}"
        if self.hurt:
            text = f"{text}; {self.hurt}"
        waiting = [name for name in self.behind if name != self.culprit]
        if waiting:
            verb = "waits" if len(waiting) == 1 else "wait"
            text = f"{text}; {listed(waiting)} {verb} behind it"
        return text


def counted(number: int, what: str) -> str:
    """So many things: 1 request, 2 requests."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def lasting(seconds: float | None) -> str:
    """How long it has lasted, to stand behind what it is; nothing when nobody knows."""
    return "" if seconds is None else f" since {duration(seconds)}"


def listed(names: list[str]) -> str:
    """Names as they are said: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def duration(seconds: float) -> str:
    """A time as it is said."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
