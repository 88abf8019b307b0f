"""What the hypervisor is told at its start, and what it says when that cannot be followed."""

from typing import Any

import pytest

from hvsim.wire.boot import BootConfig
from hvsim.wire.fields import WrongMessage


def told(**more: Any) -> dict[str, Any]:
    return {"memory_pages": 64, "dom0": {"memory_pages": 16}, "spawner": ["spawn"], **more}


def test_the_spawner_s_command_is_handed_in() -> None:
    assert BootConfig.parse(told()).spawner == ("spawn",)
    with_modules = BootConfig.parse(told(spawner={"argv": ["a", "b"], "preload": ["m"]}))
    assert (with_modules.spawner, with_modules.preload) == (("a", "b"), ("m",))


@pytest.mark.parametrize("spawner", [None, [], {}, {"preload": ["m"]}, {"argv": []}])
def test_a_machine_without_one_says_so(spawner: Any) -> None:
    """Seen red with a command of the hypervisor's own in that place."""
    with pytest.raises(WrongMessage, match=r"^spawner\.argv: the command that starts the spawner"):
        BootConfig.parse(told(spawner=spawner))
