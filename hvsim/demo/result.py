"""What a demo run found out, and whether that is good. Pure."""

import statistics
from dataclasses import dataclass, field

from hvsim.demo.rows import DemoRow


@dataclass(slots=True)
class Kill:
    """One death of the storage domain, as its guest saw it. Times are ms after the SIGKILL."""

    old_domid: int
    new_domid: int | None = None
    recovery_ms: float | None = None
    """Until the database's device was Connected at the new backend, both halves; the frontend
    issues its unanswered requests again in the very step in which it becomes Connected."""
    commit_gap_ms: float | None = None
    """Until the first commit that was acknowledged after that."""
    steps: list[tuple[float, str]] = field(default_factory=list)
    """What happened in the store, in order."""


@dataclass(slots=True)
class Result:
    """All of a run. `ok` is the verdict."""

    seed: int
    lab: str
    kills: list[Kill] = field(default_factory=list)
    wanted_kills: int = 0
    acknowledged: int = 0
    found: int = 0
    integrity: str = "not looked at"
    lost: list[int] = field(default_factory=list)
    """Numbers of acknowledged commits that are not there whole."""
    unsound: list[str] = field(default_factory=list)
    """What else is wrong: gaps, torn or damaged rows; a guest that read back wrong data."""
    orderly: bool = False
    """Did the database guest shut itself down when asked?"""
    leftovers: list[str] = field(default_factory=list)
    up_seconds: float = 0.0
    failure: str = ""
    """What ended the run before its time, if something did."""

    def recoveries(self) -> list[float]:
        """Every recovery time, ms."""
        return [kill.recovery_ms for kill in self.kills if kill.recovery_ms is not None]

    def complaints(self) -> list[str]:
        """Everything that makes this run a failure, in words; empty when all is well."""
        found = []
        if self.failure:
            found.append(self.failure)
        if self.lost:
            found.append(
                f"LOSS: {len(self.lost)} acknowledged commits are not in the database "
                f"(first: {self.lost[0]})"
            )
        if self.integrity != "ok":
            found.append(f"LOSS: integrity_check says: {self.integrity}")
        found += [f"LOSS: {text}" for text in self.unsound]
        # A commit may be durable whose acknowledgement a dying guest did not get out; a guest
        # that shut itself down acknowledged everything.
        spare = 0 if self.orderly else 1
        found += miscounted(self.acknowledged, self.found, spare)
        if not self.acknowledged:
            found.append("no commit was acknowledged: nothing was proven")
        if len(self.recoveries()) < self.wanted_kills:
            found.append(f"{len(self.recoveries())} recoveries of {self.wanted_kills} kills")
        if self.leftovers:
            found.append(f"left behind: {', '.join(self.leftovers)}")
        return found

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing left, and every kill survived?"""
        return not self.complaints()

    def as_json(self) -> DemoRow:
        """The one object of `hvsim demo --json`."""
        recoveries = self.recoveries()
        gaps = [kill.commit_gap_ms for kill in self.kills if kill.commit_gap_ms is not None]
        return {
            "ok": self.ok,
            "acknowledged": self.acknowledged,
            "found": self.found,
            "lost": len(self.lost),
            "integrity": self.integrity,
            "kills": len(self.kills),
            "recovery_ms": [round(value, 3) for value in recoveries],
            "recovery_ms_median": _median(recoveries),
            "recovery_ms_max": round(max(recoveries), 3) if recoveries else None,
            "commit_gap_ms": [round(value, 3) for value in gaps],
            "commit_gap_ms_median": _median(gaps),
            "leftovers": self.leftovers,
            "seed": self.seed,
            "lab": self.lab,
            "up_seconds": round(self.up_seconds, 3),
            "orderly_shutdown": self.orderly,
            "complaints": self.complaints(),
        }


def miscounted(acknowledged: int, found: int, spare: int) -> list[str]:
    """What is wrong where more than *spare* commits were found besides those that somebody was
    told of, or fewer than these."""
    if acknowledged <= found <= acknowledged + spare:
        return []
    word = "LOSS" if found < acknowledged else "SURPLUS"
    return [f"{word}: {acknowledged} commits acknowledged, {found} found"]


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None
