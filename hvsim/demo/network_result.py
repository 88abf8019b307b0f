"""What the demo's network part found out, and whether that is good. Pure."""

from dataclasses import dataclass, field

from hvsim.demo.result import miscounted
from hvsim.demo.rows import NetworkRow


@dataclass(slots=True)
class Outage:
    """One death of a driver domain, as the client at the other end of it all saw it.

    Attributes:
        domain: which driver domain.
        back_ms: until its devices were Connected at its successor.
        gap_ms: until the first commit that was acknowledged to the client after the SIGKILL.
    """

    domain: str
    back_ms: float | None = None
    gap_ms: float | None = None


@dataclass(slots=True)
class NetworkResult:
    """All of it. `ok` is the verdict.

    Attributes:
        impossible: why this machine cannot have it, when it cannot: then nothing was done.
        acknowledged: commits that the client was told of over HTTP.
        found: commits on the database's disk.
        unsound: what else is wrong: guests that have ended, grants that leak, handshakes.
        connections_lost: by the client; one TCP connection carries all of its requests.
    """

    lab: str
    impossible: str = ""
    wanted_outages: int = 0
    outages: list[Outage] = field(default_factory=list)
    acknowledged: int = 0
    found: int = 0
    integrity: str = "not looked at"
    lost: list[int] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    connections_lost: int | None = None
    leftovers: list[str] = field(default_factory=list)
    up_seconds: float = 0.0
    failure: str = ""

    def complaints(self) -> list[str]:
        """Everything that makes it a failure, in words; empty when all is well."""
        if self.impossible:
            return []
        found = [self.failure] if self.failure else []
        if self.lost:
            found.append(
                f"LOSS: {len(self.lost)} commits that the client was told of are not in the "
                f"database (first: {self.lost[0]})"
            )
        if self.integrity != "ok":
            found.append(f"LOSS: integrity_check says: {self.integrity}")
        found += [f"LOSS: {text}" for text in self.unsound]
        # A commit may be durable whose answer was still on its way when the client ended.
        found += miscounted(self.acknowledged, self.found, 1)
        if not self.acknowledged:
            found.append("no commit was acknowledged over the network: nothing was proven")
        if self.connections_lost is None:
            found.append("the client did not say how many connections it lost")
        elif self.connections_lost:
            found.append(f"the client lost its connection {self.connections_lost} times")
        healed = [one for one in self.outages if one.gap_ms is not None]
        if len(healed) < self.wanted_outages:
            found.append(f"{len(healed)} recoveries of {self.wanted_outages} deaths")
        if self.leftovers:
            found.append(f"left behind: {', '.join(self.leftovers)}")
        return found

    @property
    def ok(self) -> bool:
        """Nothing lost, no connection broken, nothing left, every death survived?"""
        return not self.complaints()

    def as_json(self) -> NetworkRow:
        """The object "network" of `hvsim demo --json`."""
        return {
            "ok": self.ok,
            "impossible": self.impossible or None,
            "lab": self.lab,
            "acknowledged": self.acknowledged,
            "found": self.found,
            "lost": len(self.lost),
            "integrity": self.integrity,
            "connections_lost": self.connections_lost,
            "outages": [
                {"domain": one.domain, "back_ms": _round(one.back_ms), "gap_ms": _round(one.gap_ms)}
                for one in self.outages
            ],
            "leftovers": self.leftovers,
            "up_seconds": round(self.up_seconds, 3),
            "complaints": self.complaints(),
        }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
