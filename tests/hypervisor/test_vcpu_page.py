"""The pages of a vCPU: both ends read the same, whatever is published and whenever it is read."""

import mmap
import os
import threading
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim import native
from hvsim.abi.memory import PAGE_SIZE
from hvsim.abi.vcpu import VCPU_RUNSTATE_INFO, XEN_RUNSTATE_UPDATE, RunstateInfo
from hvsim.abi.vcpu_page import NEVER, RUNSTATE_OFFSET, TIME_OFFSET, TSC_MUL, TSC_SHIFT, scale
from hvsim.domain import clock as clocks
from hvsim.domain.clock import TimePage
from hvsim.domain.shm import SharedPages
from hvsim.domain.vcpu import VCPU
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.kernel import SharedMemory
from hvsim.hypervisor.vcpu_page import VCpuPage
from hvsim.wire.doorbell import make, ring
from tests.hypervisor.fakes import FakeHost, FakeMemory
from tests.support.waits import wait

U64 = st.integers(0, 2**62)


class MemfdHost(FakeHost):
    """Memory that the kernel knows."""

    def make_memory(self, name: str, nr_pages: int) -> SharedMemory:  # type: ignore[override]
        return SharedMemory(name, nr_pages)


@pytest.fixture
def page() -> Iterator[VCpuPage]:
    made = VCpuPage(FakeHost(), "d1")
    yield made
    made.close()


def reader(page: VCpuPage, ticks: list[int]) -> TimePage:
    return TimePage(page.time.view().toreadonly(), lambda: ticks[0], lambda: ticks[0] / 1e9)


@settings(max_examples=1000)
@given(st.integers(0, 10**15), U64, st.integers(0, 10**13))
def test_time_goes_on_at_the_rate_of_the_tsc(at: int, system: int, later: int) -> None:
    """Seen red with a shift of 0."""
    page = VCpuPage(FakeHost(), "d1")
    page.set_time(at, system)
    time = reader(page, [at + later])
    assert time.system_time() == system + later
    assert time.now() == pytest.approx((system + later) / 1e9, rel=1e-9, abs=2e-9)
    page.close()


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(-31, 31))
def test_the_formula_is_pvclock_s(delta: int, mul: int, shift: int) -> None:
    exact = Fraction(delta) * Fraction(2) ** shift * mul / 2**32
    assert exact - scale(delta, mul, shift) < 1 + Fraction(mul, 2**32)
    assert scale(delta, TSC_MUL, TSC_SHIFT) == delta


def test_a_clock_without_an_offset_is_the_machine_s_to_the_last_bit(page: VCpuPage) -> None:
    """Who reads the ledger and who reads a vCPU's clock may compare."""
    page.set_time(123_456_789_012_345, 123_456_789_012_345)
    ticks = [123_456_789_012_345]
    for more in range(0, 10**9, 77_777_777):
        ticks[0] += more
        assert reader(page, ticks).now() == ticks[0] / 1e9


def test_a_factor_of_nothing_stops_the_clock(page: VCpuPage) -> None:
    ticks = [1000]
    time = reader(page, ticks)
    for system in (5_000_000_000, 7_000_000_000):
        page.set_time(ticks[0], system, mul=0)
        for _ in range(3):
            ticks[0] += 10**9
            assert (time.now(), time.system_time()) == (system / 1e9, system)


def test_parameters_that_change_are_seen(page: VCpuPage) -> None:
    """Seen red with a reader that keeps the first parameters."""
    ticks = [10**9]
    page.set_time(0, 0)
    time = reader(page, ticks)
    assert time.now() == 1.0
    page.set_time(10**9, 50 * 10**9)
    assert time.now() == 50.0
    assert time.system_time() == 50 * 10**9


@pytest.mark.parametrize("pure", [False, True], ids=["compiled", "pure"])
def test_both_readers_follow_the_page(
    page: VCpuPage, pure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the machine's clock, with parameters that change: jumps, drift, a stop.  Seen red with a
    `Clock_now` that keeps the first parameters, and with one that takes no shift."""
    if pure:
        monkeypatch.setenv("HVSIM_PURE", "1")
    elif native.load() is None:
        pytest.skip("no compiled helper")
    time = TimePage(page.time.view().toreadonly())
    try:
        for tsc, system, mul, shift in (
            (0, 0, TSC_MUL, TSC_SHIFT),
            (5, 3600 * 10**9, TSC_MUL, TSC_SHIFT),
            (10**9, 7, TSC_MUL // 3, TSC_SHIFT + 1),
            (0, 5 * 10**9, 0, TSC_SHIFT),
        ):
            page.set_time(tsc, system, mul, shift)
            least = system + scale(clocks.tsc() - tsc, mul, shift)
            now = time.now()
            most = system + scale(clocks.tsc() - tsc, mul, shift)
            assert least / 1e9 - 1e-6 <= now <= most / 1e9 + 1e-6
    finally:
        time.close()
    with pytest.raises(ValueError, match="released"):
        time.now()


def test_the_wall_clock_goes_on_with_system_time(page: VCpuPage) -> None:
    ticks = [500]
    page.set_time(0, 0)
    late = 2**33 * 10**9 + 7  # beyond wc_sec's 32 bits
    for zero in (0, 1_700_000_000_123_456_789, late):
        page.set_wall_clock(zero)
        assert reader(page, ticks).wall() == zero + 500


def test_run_states_are_told(page: VCpuPage) -> None:
    info = RunstateInfo(2, 77, (1, 2, 3, 4))
    page.set_runstate(info)
    assert reader(page, [0]).runstate() == info


def test_a_structure_that_changes_meanwhile_is_read_again(page: VCpuPage) -> None:
    """The TSC is read between two looks at the version.  Seen red with one look only."""

    def ticks() -> int:
        if changes:
            page.set_time(0, changes.pop())
        return 0

    page.set_time(0, 1_000_000_000)
    changes = [3_000_000_000, 2_000_000_000]
    time = TimePage(page.time.view().toreadonly(), ticks, lambda: float(ticks()))
    assert time.system_time() == 3_000_000_000
    changes = [4_000_000_000]
    assert time.now() == 4.0


@pytest.mark.parametrize(
    ("timeout", "timer", "told"),
    [(None, None, None), (2e6, None, 2_000_003), (2e6, 1e6, 1_000_003), (None, 1e6, 1_000_003)],
)
def test_a_vcpu_says_until_when_it_is_blocked(
    timeout: float | None, timer: float | None, told: int | None
) -> None:
    """Seen red with a word that is written when the wait has ended."""
    page, bell, seen = VCpuPage(FakeHost(), "d1"), make(), []
    vcpu = VCPU(lambda: 3.0, own=page.own.view())
    vcpu.open_port(1, bell, None)

    def watch() -> None:
        wait(lambda: page.blocked()[0], "the vCPU to be blocked")
        seen.append(page.blocked())
        ring(bell)

    if timer is not None:
        vcpu.call_later(timer, lambda: None)
    assert page.blocked() == (False, None)
    watcher = threading.Thread(target=watch)
    watcher.start()
    for port in (None, 1) if timer is None else (None,):
        while not vcpu.block(timeout, port=port):
            pass
        assert page.blocked() == (False, None)
        if port is None and timer is None:
            vcpu.dispatch()
            watcher.join()
            watcher = threading.Thread(target=watch)
            watcher.start()
    watcher.join()
    assert {*seen} == {(True, None if told is None else told * 10**9)}
    vcpu.close()
    os.close(bell)
    page.close()


def test_who_only_looks_is_not_blocked() -> None:
    page = VCpuPage(FakeHost(), "d1")
    page.own.view().cast("Q")[0] = 5
    vcpu = VCPU(lambda: 3.0, own=page.own.view())
    assert not vcpu.block(0)
    assert page.blocked() == (True, 5), "nothing was written"
    vcpu.close()
    page.close()


@given(st.integers(0, 2**64 - 1))
def test_any_word_of_a_hostile_vcpu_is_an_answer(word: int) -> None:
    page = VCpuPage(FakeHost(), "d1")
    page.own.view().cast("Q")[0] = word
    assert page.blocked() == (word != 0, None if word in (0, NEVER) else word)
    page.close()


def test_the_time_page_is_the_hypervisor_s_alone() -> None:
    """Seen red without the seal."""
    host: Host = MemfdHost()
    page = VCpuPage(host, "d1")
    fd = page.time.lend()
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(fd, PAGE_SIZE)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        shared = SharedPages([(fd, 0, 1)], writable=False)
        page.set_time(5, 6)
        assert TimePage(shared.view, lambda: 7, lambda: 7e-9).system_time() == 8
        shared.close()
    finally:
        os.close(fd)
        page.close()


def test_the_places_do_not_overlap() -> None:
    assert RUNSTATE_OFFSET % 8 == 0
    assert TIME_OFFSET + 32 <= 3072 <= RUNSTATE_OFFSET <= PAGE_SIZE - 48


class Looking(tuple[int, int, int, int]):
    """Times that note what a reader of the page sees while they are written."""

    seen: list[int]
    page: VCpuPage

    def __iter__(self) -> Iterator[int]:
        at = RUNSTATE_OFFSET + VCPU_RUNSTATE_INFO.offsets["state_entry_time"]
        self.seen.append(int.from_bytes(self.page.time.view()[at : at + 8], "little"))
        return super().__iter__()


def test_run_states_that_are_being_written_say_so(page: VCpuPage) -> None:
    times = Looking((1, 2, 3, 4))
    times.seen, times.page = [], page
    page.set_runstate(RunstateInfo(1, 77, times))
    assert times.seen == [77 | XEN_RUNSTATE_UPDATE]


def test_half_of_a_pair_of_pages_is_given_back() -> None:
    class Full(FakeHost):
        def make_memory(self, name: str, nr_pages: int) -> FakeMemory:
            if self.memories:
                raise OSError(24, "Too many open files")
            return super().make_memory(name, nr_pages)

    host = Full()
    with pytest.raises(OSError, match="Too many"):
        VCpuPage(host, "d1")
    assert [memory.closed for memory in host.memories] == [True]
