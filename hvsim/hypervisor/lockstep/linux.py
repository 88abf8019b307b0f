"""What Linux does in its own time, waited for: that it takes its time must not decide an order."""

import select
from collections.abc import Callable
from typing import Final, Protocol

from hvsim.linux import proc

LOOK: Final = 0.001
"""Seconds between two looks whether a process has stopped."""


class Hears(Protocol):
    """The spawner's wire."""

    def hear(self, timeout: float) -> bool:
        """Wait at most so many seconds for what it says next; whether it has said something."""


class Linux:
    """Waits for what was asked.

    Args:
        spawner: its wire, once there is one.
        give_up: told of what has not come.
        patience: seconds that it may take.

    Attributes:
        ended: processes of which the spawner has said how they ended.
    """

    def __init__(
        self, spawner: Callable[[], Hears], give_up: Callable[[str], None], patience: float
    ) -> None:
        self._spawner = spawner
        self._give_up = give_up
        self._patience = patience
        self.ended: set[int] = set()

    def birth(self, name: str, over: Callable[[], bool]) -> None:
        """The spawner has said that a process runs, or why it does not."""
        self._hear(over, f"{name} was not made")

    def end(self, pidfd: int, pid: int) -> None:
        """A process is dead, and the spawner has said how it ended."""
        ready = select.poll()
        ready.register(pidfd, select.POLLIN)
        if not ready.poll(self._patience * 1000):
            self._give_up(f"process {pid} was killed, and has not ended")
        self._hear(lambda: pid in self.ended, f"nobody has said how process {pid} ended")

    def state(self, pid: int, *, stopped: bool) -> None:
        """A process stands still (SIGSTOP), or does not any more."""
        nothing = select.poll()
        for _ in range(int(self._patience / LOOK)):
            state = proc.state(pid)
            if not state or (state in proc.STOPPED) == stopped:
                return
            nothing.poll(LOOK * 1000)
        self._give_up(f"process {pid} has not stopped, or gone on")

    def _hear(self, over: Callable[[], bool], failed: str) -> None:
        spawner = self._spawner()
        while not over():
            if not spawner.hear(self._patience):
                self._give_up(failed)
                return
