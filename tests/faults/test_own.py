"""A fault of one's own, named in a rule, seen by the guest; and gone when the rule goes.

Seen red: with `rules.made` that leaves `by` empty, both.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence

import pytest

from hvsim.domain.injection import Fault
from hvsim.domain.seams import MEDIUM
from hvsim.domain.xenbus.device import Device
from hvsim.drivers.block.image import Image
from hvsim.drivers.block.request import READ
from hvsim.faults.inject.swap import swap
from tests.drivers.blockrig import Rig, a_disk_and_its_domains
from tests.faults.test_media import ERROR, OKAY, Broken

__all__ = ["a_disk_and_its_domains"]


def fails(fault: Fault) -> Callable[[], None]:
    """Every read of the domain's disks."""

    def read(_image: Image, _views: Sequence[memoryview], _offset: int) -> None:
        fault.told("a read of our own")
        raise OSError(errno.EIO, "as it was planned")

    # Without the compiled service, which reads by itself.
    return swap((Image, "read", read), (Image, "direct", False))


@pytest.fixture
def broken(rig: Rig) -> Iterator[Broken]:
    made = Broken(rig)
    yield made
    made.breaker.clear()


def test_a_function_of_ones_own_is_put_in_place_and_taken_out(broken: Broken) -> None:
    do, breaker = broken.rig.do, broken.breaker
    before = Image.read
    number = breaker.add("back", f"own={__name__}:fails")
    broken.rig.run(lambda: Image.read is not before, "the rule in place")
    slow = breaker.add("guest/xvda", "media=slow", "nth=1000")  # the service is made anew
    broken.rig.run(lambda: do(READ, 0, 1).status == ERROR, "the read that fails")
    assert breaker.fired(number)[0] == "a read of our own"
    breaker.remove(number)
    broken.rig.run(lambda: Image.read is before, "the rule gone")
    assert do(READ, 0, 1).status == OKAY
    breaker.remove(slow)


def has_a_bug(fault: Fault) -> Callable[[], None]:
    raise KeyError("no such thing")


def ends_badly(fault: Fault) -> Callable[[], None]:
    def back() -> None:
        raise KeyError("nor this")

    return back


def test_a_function_that_fails_ends_no_domain(broken: Broken) -> None:
    """Red with an `Injection` that lets it pass: the domain that serves the disk crashed."""
    do, breaker = broken.rig.do, broken.breaker
    breaker.add("back", f"own={__name__}:has_a_bug")
    number = breaker.add("back", f"own={__name__}:ends_badly")
    assert do(READ, 0, 1).status == OKAY
    assert [one.trouble for one in breaker.standing()] == ["KeyError: 'no such thing'", ""]
    breaker.remove(number)
    assert do(READ, 0, 1).status == OKAY


def stands_badly(fault: Fault) -> Callable[[], None]:
    def layer(_thing: object, _device: Device) -> object:
        raise KeyError("no such medium")

    return fault.domain.seams.insert(MEDIUM, layer)


def test_a_layer_that_fails_stands_nowhere(broken: Broken) -> None:
    """Red with one that stays at the seam: its rule has nothing that takes it out, and the next one
    at the seam is told of its fault."""
    breaker = broken.breaker
    number = breaker.add("back", f"own={__name__}:stands_badly")
    assert broken.rig.do(READ, 0, 1).status == OKAY
    assert [one.trouble for one in breaker.standing()] == ["KeyError: 'no such medium'"]
    breaker.remove(number)
    breaker.add("guest/xvda", "media=eio", "op=read")
    broken.rig.run(lambda: broken.rig.do(READ, 0, 1).status != OKAY, "the other rule")
    assert [one.trouble for one in breaker.standing()] == [""]


def test_a_function_that_is_not_there_is_told(broken: Broken) -> None:
    broken.breaker.add("back", "own=tests.faults.nowhere:stand")
    broken.rig.do(READ, 0, 1)
    [standing] = broken.breaker.standing()
    assert "no module 'tests.faults.nowhere'" in standing.trouble
