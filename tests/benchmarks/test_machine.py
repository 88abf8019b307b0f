"""Whether the machine is quiet, told from /proc/stat."""

import pytest

from benchmarks import machine
from benchmarks.machine import Quiet, Ticks

STAT = "cpu  100 10 50 1000 40 5 5 30 0 0\ncpu0 50 5 25 500 20 2 3 15 0 0\n"


def test_ticks_are_busy_idle_or_stolen() -> None:
    assert Ticks.parse(STAT) == Ticks(busy=170, idle=1040, stolen=30)
    assert Ticks(300, 1140, 50).since(Ticks(270, 1080, 40)) == (0.3, 0.1)
    assert Ticks(1, 1, 1).since(Ticks(1, 1, 1)) == (0.0, 0.0)


@pytest.mark.parametrize("text", ["intr 1 2 3\n", "cpu 1 2 3\n"])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="begins with"):
        Ticks.parse(text)


def test_a_machine_is_quiet_or_it_is_said_who_is_not() -> None:
    assert Quiet(busy=0.05, stolen=0.0).warning == ""
    assert "others keep 1.5 processors busy" in Quiet(busy=1.5, stolen=0.0).warning
    assert "its host takes 10% of its time" in Quiet(busy=0.0, stolen=0.1).warning


def test_the_machine_is_described() -> None:
    about = machine.describe()
    assert "CPUs" in about["machine"]
    assert about["helper"] in ("compiled", "none: pure Python")
    assert len(about["load"]) == 3
