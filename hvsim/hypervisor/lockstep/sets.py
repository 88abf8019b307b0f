"""The epoll sets in which processes wait, and into which the hypervisor looks."""

import select

from hvsim.hypervisor.kernel import WaitSet


class WaitSets:
    """By the token of the process."""

    def __init__(self) -> None:
        self._sets: dict[int, WaitSet] = {}
        self._tokens: dict[int, int] = {}
        self._look = select.epoll()

    def __contains__(self, token: int) -> bool:
        return token in self._sets

    def make(self, token: int) -> WaitSet:
        """One for a process that is to be made.  Raises: OSError."""
        waits = WaitSet()
        self._sets[token] = waits
        self._tokens[waits.fd] = token
        self._look.register(waits.fd, select.EPOLLIN)
        return waits

    def ready(self) -> set[int]:
        """Those in whose set something has come."""
        return {self._tokens[fd] for fd, _ in self._look.poll(0.0)}

    def forget(self, token: int) -> None:
        """A process has ended; its set is closed by whoever has it.  Idempotent."""
        waits = self._sets.pop(token, None)
        if waits is not None:
            self._look.unregister(waits.fd)
            del self._tokens[waits.fd]

    def close(self) -> None:
        """Nobody is looked at any more."""
        self._look.close()
