"""Which walls of one process stand, and what happens when one does not."""

from collections.abc import Callable, Collection

from hvsim.spawn.sandbox.refusal import WallError, reason
from hvsim.wire.walls import WALLS


class Walls:
    """Keeps the list of those that do not stand.

    Args:
        lenient: go on without one that cannot be raised.
        without: those that a test leaves out.

    Attributes:
        report: one short text for each that does not stand: "name: why".
    """

    def __init__(self, lenient: bool, without: Collection[str]) -> None:
        self.lenient = lenient
        self.without = without
        self.report = [f"{wall}: left out for a test" for wall in WALLS if wall in without]

    def build(self, wall: str, call: Callable[[], object]) -> bool:
        """Raise one; False when it cannot be had.

        Raises: WallError: and that is the end.
        """
        try:
            call()
        except OSError as error:
            self.lost(wall, reason(error))
            return False
        return True

    def lost(self, wall: str, why: str) -> None:
        """One that cannot be raised.  Raises: WallError: and that is the end."""
        if not self.lenient:
            raise WallError(wall, why)
        self.report.append(f"{wall}: {why}")
