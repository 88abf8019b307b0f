"""No state regression: no half of a device took a step that the handshake does not have.

The store's own monitor looks at each step and tells the ledger of those that break a rule.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hvsim.faults.checkers.verdict import Verdict

KIND: Final = "store.handshake"
_SHOWN: Final = 5


def handshakes(ledger: Sequence[Mapping[str, Any]], gaps: int = 0) -> Verdict:
    """Judge the records of a run.

    Args:
        gaps: records that the hypervisor did not have any more when they were asked for.
    """
    wrong = [str(record["text"]) for record in ledger if record["kind"] == KIND]
    problems = wrong[:_SHOWN]
    if len(wrong) > _SHOWN:
        problems.append(f"and {len(wrong) - _SHOWN} steps more that break a rule")
    if gaps:
        problems.append(f"{gaps} records of the ledger were missed: not all steps were seen")
    return Verdict(f"{len(ledger)} records of the ledger", tuple(problems))
