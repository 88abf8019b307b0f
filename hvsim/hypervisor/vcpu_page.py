"""The pages that a vCPU shares with the hypervisor, from the hypervisor's side.

Two, because a page can only be written by one of them as a whole: the time page is sealed against
everybody but us (a hostile domain could else mislead those who read its run states), the own page
is the vCPU's.  Where is what: ``hvsim.abi.vcpu_page``.
"""

from typing import Final

from hvsim.abi.shared_info import VCPU_TIME_INFO, WALL_CLOCK, XEN_PVCLOCK_TSC_STABLE_BIT
from hvsim.abi.vcpu import VCPU_RUNSTATE_INFO, XEN_RUNSTATE_UPDATE, RunstateInfo
from hvsim.abi.vcpu_page import (
    BLOCKED_UNTIL_OFFSET,
    NEVER,
    RUNNING,
    RUNSTATE_OFFSET,
    TIME_OFFSET,
    TSC_MUL,
    TSC_SHIFT,
    WALL_CLOCK_OFFSET,
)
from hvsim.hypervisor.domain_time import DomainTime
from hvsim.hypervisor.host import Host, Memory

_WORD: Final = 4
_SECOND: Final = 1_000_000_000
_STATE_ENTRY: Final = (RUNSTATE_OFFSET + VCPU_RUNSTATE_INFO.offsets["state_entry_time"]) // 8


class VCpuPage:
    """Both pages of one vCPU, zeroed at birth, made of two pieces of shared memory.

    Args:
        name: for people who look at /proc.

    Raises: OSError; nothing is left then.

    Attributes:
        time, own: what the domain is given the descriptors of.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.time: Final[Memory] = host.make_memory(f"{name}-time", 1)
        try:
            view = self.time.view()  # before the seal, which refuses it for ever
            self.time.seal(True)
            self.own: Final[Memory] = host.make_memory(f"{name}-own", 1)
        except OSError:
            self.time.close()
            raise
        self.own.seal(False)
        self._words = view.cast("I")
        self._longs = view.cast("Q")
        self._view = view
        self._own: memoryview | None = None  # mapped at the first look
        self._at_zero = -1  # of the wall clock, as the page says

    def set_time(self, tsc: int, system: int, mul: int = TSC_MUL, shift: int = TSC_SHIFT) -> None:
        """From now on system time is *system* at TSC *tsc*, and goes on at the TSC's rate; *mul* 0
        lets it stand still."""
        info = (0, tsc, system, mul, shift, XEN_PVCLOCK_TSC_STABLE_BIT, 0, 0)
        body = VCPU_TIME_INFO.pack(0, *info)[_WORD:]
        self._publish(TIME_OFFSET, body)

    def set_wall_clock(self, at_zero: int) -> None:
        """The time of day at system time 0, in nanoseconds of Unix time."""
        if at_zero == self._at_zero:
            return
        self._at_zero = at_zero
        seconds, nanoseconds = divmod(at_zero, _SECOND)
        words = (seconds & 0xFFFF_FFFF, nanoseconds, seconds >> 32 & 0xFFFF_FFFF)
        self._publish(WALL_CLOCK_OFFSET, WALL_CLOCK.pack(0, *words)[_WORD:])

    def set_runstate(self, info: RunstateInfo) -> None:
        """Tell the vCPU its run states; a bit of the entry time says that they are being written
        (XEN_RUNSTATE_UPDATE)."""
        entry = info.state_entry_time
        self._longs[_STATE_ENTRY] = entry | XEN_RUNSTATE_UPDATE
        self._words[RUNSTATE_OFFSET // _WORD] = info.state
        for number, spent in enumerate(info.time, _STATE_ENTRY + 1):
            self._longs[number] = spent
        self._longs[_STATE_ENTRY] = entry

    def blocked(self) -> tuple[bool, int | None]:
        """Whether the vCPU says that it is blocked, and until when (None: without a limit).

        Its word, copied once.  Raises OSError.
        """
        if self._own is None:
            self._own = self.own.view().cast("Q")
        word = self._own[BLOCKED_UNTIL_OFFSET // 8]
        if word == RUNNING:
            return False, None
        return True, None if word == NEVER else word

    def close(self) -> None:
        """Let go of both."""
        self._words.release()
        self._longs.release()
        if self._own is not None:
            self._own.release()
        self.time.close()
        self.own.close()

    def _publish(self, offset: int, body: bytes) -> None:
        """What follows the version at *offset*, which is odd meanwhile."""
        word = offset // _WORD
        version = self._words[word]
        self._words[word] = (version | 1) & 0xFFFF_FFFF
        self._view[offset + _WORD : offset + _WORD + len(body)] = body
        self._words[word] = (version | 1) + 1 & 0xFFFF_FFFF


def tell_time(page: VCpuPage, time: DomainTime, host: Host) -> None:
    """Let a page say what time its domain has."""
    if host.stands:
        page.set_time(0, time.at(host.now()), 0)
    else:
        page.set_time(*time.parameters())
    page.set_wall_clock(host.wall_clock() + time.wall_shift)
