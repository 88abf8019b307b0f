"""No grant leaks: what is mapped is mapped by somebody who is there; the dead are gone.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hvsim.faults.checkers.verdict import Verdict

if TYPE_CHECKING:
    from hvsim.wire.picture import HoldingsRow


def grants(
    before: Mapping[int, HoldingsRow],
    after: Mapping[int, HoldingsRow],
    dying: Sequence[int],
) -> Verdict:
    """Judge what the domains hold in the hypervisor before the faults and after all has healed.

    Args:
        before, after: domid -> what that domain holds.
        dying: domains that are dead and not gone, as somebody still holds pages of theirs.
    """
    pages = sum(one["users"] for one in after.values())
    judged = f"{pages} mappings of pages of {len(after)} domains"
    problems = [f"domain {domid} is dead, and somebody still holds its pages" for domid in dying]
    for domid, one in sorted(after.items()):
        gone = [grant for grant in one["grants"] if grant["peer"] not in after]
        if gone:
            problems.append(
                f"{len(gone)} pages of domain {domid} are mapped by domain {gone[0]['peer']}, "
                "which is not there any more"
            )
    mapped = sum(one["mapped"] for one in after.values())
    users = sum(one["users"] for one in after.values())
    if mapped > users:
        problems.append(f"{mapped} mappings are held, and owners know of {users}")
    if not before:
        problems.append("nobody looked before the faults: nothing was proven")
    return Verdict(judged, tuple(problems))
