"""Numbers of ports and of vCPUs, in the table alone.

Each is red with the fault of its name in tests/mutants/hypervisor.py.
"""

import pytest

from hvsim.abi.errno import EINVAL
from hvsim.abi.event_channel import VIRQ_TIMER
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import EventTable
from hvsim.hypervisor.host import Doorbell
from hvsim.hypervisor.kernel import Bell
from hvsim.hypervisor.names import Names


def no_bell() -> Doorbell:
    raise AssertionError("none is needed")


def test_the_lowest_free_number_is_taken() -> None:
    table = EventTable(1, no_bell, Names())
    for number in (1, 2, 3, 4, 5):
        assert table.alloc_unbound(0, None).number == number
    for number in (2, 4, 1):
        table.close(number)
    assert [table.alloc_unbound(0, None).number for _ in range(4)] == [1, 2, 4, 6]


def test_an_interrupt_is_for_the_one_vcpu() -> None:
    table = EventTable(1, no_bell, Names())
    with pytest.raises(XenError) as refused:
        table.bind_virq(VIRQ_TIMER, 1, None)
    assert refused.value.errno == EINVAL


def test_a_closed_interrupt_may_be_bound_again() -> None:
    table = EventTable(1, Bell, Names())
    table.close(table.bind_virq(VIRQ_TIMER, 0, None).number)
    table.close(table.bind_virq(VIRQ_TIMER, 0, None).number)
    assert not table.raise_virq(VIRQ_TIMER)


def test_a_closed_port_names_nobody() -> None:
    names = Names()
    table = EventTable(1, no_bell, names)
    number = table.alloc_unbound(7, None).number
    assert 7 in names
    table.close(number)
    assert 7 not in names
