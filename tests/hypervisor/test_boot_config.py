"""What the hypervisor is told at its start, and what is said when that cannot be followed."""

from typing import Any

import pytest

from hvsim.wire.boot import Boot
from hvsim.wire.typed import BadMessage, read, write


def told(**more: Any) -> dict[str, Any]:
    return {
        "memory_pages": 64,
        "dom0": {"memory_pages": 16},
        "spawner": {"argv": ["spawn"]},
        **more,
    }


def test_it_comes_as_it_was_sent() -> None:
    boot = read(Boot, told(spawner={"argv": ["a", "b"], "preload": ["m"]}))
    assert (boot.spawner.argv, boot.spawner.preload) == (("a", "b"), ("m",))
    assert read(Boot, write(boot)) == boot


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"spawner": {}}, "spawner: .*argv"),  # red with a command of the hypervisor's own there
        ({"spawner": {"argv": []}}, "spawner.argv: "),
        ({"memory_pages": 1}, "memory_pages: "),
        ({"memory_pages": True}, "memory_pages: "),
        ({"dom0": {"memory_pages": 65}}, "dom0 has more memory than the machine"),
        ({"nodes": 65}, "nodes: more than pages"),
        ({"event_mode": "slow"}, "event_mode: "),
        ({"cgroups": {"memory": "/x"}}, "cgroups: a directory each"),
        ({"memry_pages": 64}, "memry_pages"),
        (
            {"dom0": {"memory_pages": 16, "processes": [{"path": ["/a", 1]}]}},
            r"dom0\.processes\[0\]\.path\[1\]: ",
        ),
    ],
)
def test_what_cannot_be_followed_is_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(BadMessage, match=field):
        read(Boot, told(**more))
