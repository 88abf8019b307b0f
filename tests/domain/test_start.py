"""From birth to the end of a domain: what the hypervisor, console and dmesg are told."""

from collections.abc import Iterator

import pytest

from hvsim.abi.sched import SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot
from tests.support.hv import Hypervisor

PROGRAMS = "tests.domain.programs"


@pytest.fixture(scope="module")
def hv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with Hypervisor(tmp_path_factory.mktemp("hv")) as hv:
        yield hv


def test_a_program_that_returns_powers_off(hv: Hypervisor) -> None:
    domid = hv.launch(f"{PROGRAMS}:returns", args={"word": "hello"})
    assert hv.ended(domid)[:2] == (SHUTDOWN_poweroff, "args hello\n")


def test_a_requested_reboot_is_the_reason(hv: Hypervisor) -> None:
    """The first request counts, sleep ends early, late listeners are told at once."""
    domid = hv.launch(f"{PROGRAMS}:reboots")
    assert hv.ended(domid)[:2] == (SHUTDOWN_reboot, "reboot ['first', 'late']\n")


def test_an_exception_is_a_crash_with_its_traceback(hv: Hypervisor) -> None:
    domid = hv.launch(f"{PROGRAMS}:raises")
    reason, console, dmesg = hv.ended(domid)
    assert reason == SHUTDOWN_crash
    assert console.startswith("about to fail\nTraceback (most recent call last):")
    assert console.endswith("LookupError: the reason\n")
    assert f"(d{domid}) {PROGRAMS}:raises: LookupError: the reason" in dmesg


@pytest.mark.parametrize(
    ("status", "reason"), [(None, SHUTDOWN_poweroff), (0, SHUTDOWN_poweroff), (3, SHUTDOWN_crash)]
)
def test_sys_exit(hv: Hypervisor, status: int | None, reason: int) -> None:
    domid = hv.launch(f"{PROGRAMS}:leaves", args={"status": status})
    assert hv.ended(domid)[0] == reason


def test_a_wait_that_ends_names_what_it_waited_for(hv: Hypervisor) -> None:
    domid = hv.launch(f"{PROGRAMS}:times_out")
    reason, console, _ = hv.ended(domid)
    assert reason == SHUTDOWN_crash
    assert "TimedOut: waited 0.01 s for a miracle" in console


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("tests.domain.absent:main", "there is no module 'tests.domain.absent'"),
        (f"{PROGRAMS}:main", "has no 'main'; it defines floods, leaves, raises"),
        (f"{PROGRAMS}:not_a_function", "'not_a_function' is not a function"),
        (f"{PROGRAMS}:", "is not of the form module:function"),
    ],
)
def test_a_program_that_cannot_be_loaded(hv: Hypervisor, program: str, text: str) -> None:
    reason, console, dmesg = hv.ended(hv.launch(program))
    assert reason == SHUTDOWN_crash
    assert text in console
    assert "Traceback" not in console
    assert text in dmesg


def test_a_console_that_nobody_reads_stalls_nothing(hv: Hypervisor) -> None:
    domid = hv.launch(f"{PROGRAMS}:floods")
    reason, _, dmesg = hv.ended(domid)
    assert reason == SHUTDOWN_poweroff
    assert f"(d{domid}) dropped True" in dmesg


def test_a_domain_without_a_store_page_that_wants_one_crashes_with_a_reason(
    hv: Hypervisor,
) -> None:
    domid = hv.launch(f"{PROGRAMS}:returns", store=True, args={"word": "x"})
    reason, console, _ = hv.ended(domid)
    assert reason == SHUTDOWN_crash
    assert "Traceback" in console
