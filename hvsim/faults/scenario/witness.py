"""What is asked of the hypervisor during a run: its ledger, what domains hold, who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hvsim.faults.rules import PATIENCE
from hvsim.lab.door import Door, DoorError

if TYPE_CHECKING:
    from hvsim.lab.rundir import RunDir
    from hvsim.wire.picture import HoldingsRow

_BATCH: Final = 1000


class Witness:
    """Of one lab; a visit at its door for each question.

    Attributes:
        ledger: every record so far.
        gaps: records that were not kept until they were asked for.
        made, tape: of a run in lockstep: how many choices there were, and those that were not the
            first option.
    """

    def __init__(self, run: RunDir) -> None:
        self._run: Final = run
        self.ledger: list[dict[str, Any]] = []
        self.gaps = 0
        self.made = 0
        self.tape: dict[int, int] = {}

    def read(self) -> None:
        """Take in what is new in the ledger.  Raises: DoorError."""
        after = self.ledger[-1]["seq"] if self.ledger else 0
        with Door(self._run.door, PATIENCE) as door:
            while records := door.ledger(after, _BATCH):
                self.gaps += records[0]["seq"] - after - 1 if self.ledger else 0
                self.ledger += records
                after = records[-1]["seq"]

    def read_tape(self) -> None:
        """Take in what was chosen, if the lab is in lockstep.  Raises: DoorError."""
        waits = self._run.waits()
        if waits is not None:
            with waits:
                self.made, self.tape = waits.tape()

    def holdings(self) -> dict[int, HoldingsRow]:
        """Of every domain, by number.  Raises: DoorError."""
        found: dict[int, HoldingsRow] = {}
        with Door(self._run.door, PATIENCE) as door:
            for row in door.domains():
                try:
                    found[row["domid"]] = door.holdings(row["domid"])
                except DoorError as refusal:
                    if not refusal.errno:  # it has gone meanwhile otherwise
                        raise
        return found

    def flags(self) -> dict[int, dict[str, bool]]:
        """How each domain is: dying, shutdown, crashed, ...  Raises: DoorError."""
        with Door(self._run.door, PATIENCE) as door:
            return {row["domid"]: row["flags"] for row in door.domains()}
