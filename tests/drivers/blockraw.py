"""Both halves of a disk in one process, and what goes between them as raw bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim import native
from hvsim.abi.blkif import (
    unpack_response,
)
from hvsim.domain.ring import PyBackRing, PyFrontRing
from tests.drivers.loopback import Loopback

MakeLoopback = Callable[..., Loopback]
_native = native.load()
TWINS: list[Any] = [pytest.param((PyFrontRing, PyBackRing), id="python")]
if _native is not None:
    TWINS.append(pytest.param((_native.FrontRing, _native.BackRing), id="native"))
MARK = b"\x5a" * 4096


@pytest.fixture(name="link", params=TWINS)
def a_disk_of_two_halves(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loopback]:
    made = Loopback(tmp_path / "disk.img", rings=request.param)
    yield made
    made.close()


def raw(link: Loopback, *requests: bytes) -> list[tuple[int, int, int]]:
    """Put `requests` on the ring as they are; (id, operation, status) of the answers."""
    for request in requests:
        link.front_ring.produce(request)
    link.front_ring.push()
    link.back()
    answers = []
    while (response := link.front_ring.consume()) is not None:
        answers.append(tuple(unpack_response(response)))
    return answers  # type: ignore[return-value]


def granted_page(link: Loopback, page: int = 0, fill: bytes = MARK) -> int:
    """Grant reference of a data page that holds `fill`."""
    link.pools[0].pages[page][:] = fill
    return link.pools[0].ref(page)
