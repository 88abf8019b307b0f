"""The calls of a process that takes turns: nothing comes of one while its caller runs."""

from collections.abc import Callable

from hvsim.hypervisor.dispatch import Dispatcher, Objects
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.machine import Machine


class InTurns(Dispatcher):
    """Serves the calls of a process that takes turns.

    Args:
        hear: takes in the notifies that came before the call.
        follow: does what follows from it.
        left_open: told of a process that waits for its answer.
    """

    def __init__(
        self,
        machine: Machine,
        hear: Callable[[], None],
        follow: Callable[[], None],
        left_open: Callable[[int], None],
    ) -> None:
        super().__init__(machine)
        self._hear = hear
        self._follow = follow
        self._left_open = left_open

    def serve(self, process: Process, request: bytes | memoryview) -> tuple[bytes, Objects] | None:
        """As ``Dispatcher.serve``."""
        self._hear()
        answer = super().serve(process, request)
        if answer is None:
            self._left_open(process.token)
        self._follow()
        return answer
