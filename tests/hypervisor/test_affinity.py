"""Where vCPUs may run: masks within the machine, and which real CPUs stand for a lab's."""

import pytest

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.affinity import Affinity, of_the_host
from hvsim.hypervisor.errors import XenError


def test_what_is_in_effect_lies_within_the_machine_and_soft_within_hard() -> None:
    masks = Affinity(vcpus=2, cpus=4)
    seen = [masks.everywhere]
    assert masks.set(0, 0b110110, None) == (0b0110, 0b0110)
    assert masks.set(0, None, 0b110011) == (0b0110, 0b0010)
    assert masks.get(0) == (0b0110, 0b0011), "the wish is kept as it was said"
    seen.append(masks.everywhere)
    assert masks.get(1) == (0b1111, 0b1111)
    assert masks.set(0, 0b1111, 0b1000) == (0b1111, 0b1000)
    seen.append(masks.everywhere)
    assert seen == [True, False, True]


@pytest.mark.parametrize(
    ("vcpu", "hard", "soft"),
    [(2, 1, None), (-1, 1, None), (0, None, None), (0, 0, None), (0, 0b10000, 1), (0, 1, 0)],
)
def test_what_names_no_cpu_changes_nothing(vcpu: int, hard: int | None, soft: int | None) -> None:
    masks = Affinity(vcpus=2, cpus=4)
    with pytest.raises(XenError) as refused:
        masks.set(vcpu, hard, soft)
    assert refused.value.errno == EINVAL
    assert [masks.get(number) for number in (0, 1)] == [(0b1111, 0b1111)] * 2
    with pytest.raises(XenError):
        masks.get(2)


def test_real_cpus_stand_for_the_lab_s() -> None:
    assert of_the_host([1], [4, 5, 6, 7], 2) == [5, 7], "each of ours is one of the lab's"
    assert of_the_host([3], [4, 5], 8) == [5], "of more than there are some share one"
    assert of_the_host([0, 2], [4, 5], 8) == [4]
